"""The page of a rule, made of the rule itself and of its two files.

Rule: what a page shows as wrong and right is what the tests hold the rule against.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from diptych.lint.rule import AnyRule

CASES: Final = Path(__file__).parent / "cases"
_FIXES: Final = {"safe": "diptych check --fix", "unsafe": "diptych check --unsafe-fixes", "none": ""}


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
