"""What `diptych event lock` does.

Rule: what is in the lock is never taken out or changed; it may be stored somewhere.
"""

from pathlib import Path

from diptych.cli.discovery import find
from diptych.cli.output import talk
from diptych.lint.facts import facts_of
from diptych.lint.inspecting import told
from diptych.lint.lock import FILE, find_lock, grow, lock_text, read_lock, stored_classes, write_lock


def write_down(said: str | None) -> int:
    """Add what is new to the lock, a line for each thing; return 1, and write nothing, if something was changed."""
    found = find(said)
    at = find_lock(found.target.path)
    grown = grow(read_lock(lock_text(found.target.path)), stored_classes(facts_of(told(found.app))))
    for line in grown.refused:
        talk(f"{line}. Old events cannot be read so: give the class a new version, and an upcaster.")
    for name in grown.gone:
        how = f'Write name="{name}" on the class that it became; if it was never stored, take it out of {FILE}.'
        talk(f"{name} is in the lock, and no class has this name. {how}")
    if grown.refused or grown.gone:
        return 1
    for line in grown.added:
        print(line)
    if grown.added:
        at.write_text(write_lock(grown.lock), "utf-8")
    shown = at.relative_to(Path.cwd()) if at.is_relative_to(Path.cwd()) else at
    talk(f"{shown} is written. Commit it." if grown.added else f"{shown} is up to date.")
    return 0
