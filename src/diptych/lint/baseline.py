"""What was there before the rules came: findings that are known, by rule and name, never by line.

Rule: it only shrinks; what is new is never put into one that exists.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from diptych.errors import ConfigurationError
from diptych.lint.findings import Finding, Place

_OURS: Final = "DP9"  # what is said of comments and files is mended at once
_HEAD: Final = """\
# Findings that were there when the rules came, written by `diptych check --baseline write`. Mend them one by one;
# `diptych check --baseline prune` takes out what is mended.
"""


class Entry(NamedTuple):
    """One finding that is known."""

    rule: str
    path: str
    name: str
    message: str  # a hash of it, without numbers and blanks


class Sorted(NamedTuple):
    """Findings that are not in a baseline, and entries of it that nothing was found for."""

    new: list[Finding]
    stale: list[Entry]


def read(file: Path) -> Counter[Entry]:
    """Read a baseline; nothing if there is none. :raises ConfigurationError: it cannot be read."""
    if not file.exists():
        return Counter()
    try:
        said = tomllib.loads(file.read_text("utf-8"))
        return Counter(Entry(one["rule"], one["path"], one["name"], one["message"]) for one in said.get("finding", []))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{file} is no baseline ({error}). Restore it, or delete it and write another."
        ) from error


def write(file: Path, entries: Iterable[Entry]) -> None:
    """Write a baseline, sorted, so that two people's changes merge."""
    lines = [_HEAD]
    for one in sorted(entries):
        lines.append("[[finding]]")
        lines += [f"{key} = {_quoted(value)}" for key, value in one._asdict().items()]
        lines.append("")
    file.write_text("\n".join(lines), "utf-8")


def sort_out(findings: Sequence[Finding], known: Counter[Entry], silent: Collection[str] | None) -> Sorted:
    """Compare findings with a baseline. Of rules that did not run nothing is stale; None: nothing at all."""
    left = Counter(known)
    new = []
    for finding in findings:
        entry = entry_of(finding)
        if left[entry] > 0 and not finding.rule.startswith(_OURS):
            left[entry] -= 1
        else:
            new.append(finding)
    stale = [] if silent is None else [entry for entry in left.elements() if entry.rule not in silent]
    return Sorted(new, sorted(stale))


def entries_of(findings: Iterable[Finding]) -> Counter[Entry]:
    """Return what a baseline is to remember."""
    return Counter(entry_of(each) for each in findings if not each.rule.startswith(_OURS))


def entry_of(finding: Finding) -> Entry:
    """Return what a baseline remembers of a finding."""
    normal = re.sub(r"\d+", "N", re.sub(r"\s+", " ", finding.message))
    return Entry(finding.rule, finding.place.path, finding.name, sha256(normal.encode()).hexdigest()[:16])


def told(stale: Sequence[Entry], file: str) -> list[Finding]:
    """Say that entries look mended."""
    if not stale:
        return []
    count = "1 entry looks" if len(stale) == 1 else f"{len(stale)} entries look"
    message = f"{count} mended: {', '.join(f'{one.rule} in {one.name}' for one in stale[:5])}"
    hint = "Take them out: diptych check --baseline prune."
    return [Finding("DP903", Place(file, 1, 1, 1, 1), message, hint, "<module>")]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
