"""The page of a rule, made of the rule itself and of its two files.

Rule: what a page shows as wrong and right is what the tests hold the rule against.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from diptych.lint.rule import AnyRule
from diptych.lint.rules.table import META

CASES: Final = Path(__file__).parent / "cases"
_FIXES: Final = {"safe": "diptych check --fix", "unsafe": "diptych check --unsafe-fixes", "none": ""}


_META: Final = {
    "DP901": (
        "ignore without reason",
        "A comment that switches a rule off says that the author knew better. The next reader needs "
        "to know what, and whether it is still so.",
        "x = 1  # diptych: ignore[DP304] only a cache, made again by each load",
    ),
    "DP902": (
        "unused ignore",
        "What the comment hid is gone, or the rule was mistyped. Left alone, it would hide the next one at this "
        "place. `--fix` removes it. Said only when the whole project was looked at, and of rules that ran.",
        "",
    ),
    "DP903": (
        "stale baseline entry",
        "What the baseline remembers was mended. Left in it, the same could come back unseen. Said only when the whole "
        "project was looked at, and of rules that ran.",
        "diptych check --baseline prune",
    ),
    "DP904": (
        "file not parsed",
        "Nothing is known of what is in the file, nor of what others need of it. Mend it, or exclude it if it is no "
        "source of this Python.",
        '[tool.diptych.check]\nexclude = ["templates"]',
    ),
}


def meta_titles() -> dict[str, str]:
    """Return what is said of comments, baseline and files, by id."""
    return {id: title for id, (title, _, _) in _META.items()}


def meta_page(id: str) -> str:
    """Return the page of one of those as text."""
    title, why, example = _META[id]
    shown = [f"    {line}" for line in example.split("\n")] if example else []
    return "\n".join([f"{id}: {title}", "", str(META[id]), "", why, *(["", *shown] if shown else [])])


def page(rule: AnyRule) -> str:
    """Return a rule's page as text."""
    lines = [f"{rule.id}: {rule.title}", "", f"{rule.severity}{'' if rule.is_default else ', off unless selected'}"]
    if rule.fix != "none":
        lines[-1] += f"; mended by `{_FIXES[rule.fix]}`"
    lines += ["", rule.why, ""]
    for case, title in (("wrong", "Wrong"), ("right", "Right")):
        for name, text in files_of(rule.id, case):
            lines += [f"{title}{f' ({name})' if name else ''}:", ""]
            lines += [f"    {line}".rstrip() for line in text.rstrip().split("\n")]
            lines.append("")
    lines.append(f"To ignore it where it is meant: # diptych: ignore[{rule.id}] why")
    return "\n".join(lines)


def files_of(rule: str, case: str) -> Iterator[tuple[str, str]]:
    """Yield the files of a case with their names; a case of one file has no name."""
    at = CASES / rule / case
    if at.with_suffix(".py").is_file():
        yield "", at.with_suffix(".py").read_text("utf-8")
        return
    for path in sorted(at.rglob("*")) if at.is_dir() else []:
        if path.is_file() and path.suffix in (".py", ".toml", ".json", ".lock"):
            yield path.relative_to(at).as_posix(), path.read_text("utf-8")
