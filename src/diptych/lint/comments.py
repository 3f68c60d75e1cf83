"""Comments that switch a rule off for a line: `# diptych: ignore[DP104] why`, or `# noqa: DP104 why`.

Rule: only real comments count, never text in strings; each needs a reason, and one that hides nothing is told of.
"""

import ast
import io
import re
import tokenize
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from diptych.lint.findings import Edit, Finding, Fix, Place
from diptych.lint.module import Module

_OURS: Final = re.compile(r"#\s*diptych:\s*ignore\[(?P<ids>[A-Z0-9,\s]*)\](?P<why>.*)$")
_NOQA: Final = re.compile(r"#\s*noqa:\s*(?P<ids>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)(?P<why>.*)$")
_NOT_HIDDEN: Final = ("DP901", "DP902", "DP904")


@dataclass(slots=True)
class Ignore:
    """One comment: which rules it switches off, on which lines, and why."""

    place: Place
    rules: frozenset[str]
    why: str
    lines: range
    is_ours: bool
    used: set[str] = field(default_factory=set)


def ignores(module: Module) -> list[Ignore]:
    """Return the comments of a file that switch rules off."""
    if "diptych:" not in module.text and "noqa" not in module.text:
        return []
    spans = _definitions(module)
    found = []
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type != tokenize.COMMENT:
            continue
        match = _OURS.search(token.string) or _NOQA.search(token.string)
        if match is None:
            continue
        (line, column), end = token.start, token.start[1] + len(token.string)
        ids = frozenset(filter(None, re.split(r"[,\s]+", match["ids"])))
        is_ours = match.re is _OURS
        if not is_ours:
            ids = frozenset(each for each in ids if each.startswith("DP"))
        if ids or is_ours:
            place = Place(module.path, line, column + match.start() + 1, line, end + 1)
            found.append(Ignore(place, ids, match["why"].strip(" -:"), spans.get(line, range(line, line + 1)), is_ours))
    return found


def applied(
    module: Module, findings: Iterable[Finding], silent: Collection[str] | None = frozenset()
) -> Iterator[Finding]:
    """Yield what is left of a file's findings, and what is to be said of its comments.

    A comment is not called unused for the sake of a rule that is `silent`, one that did not run. None: not everything
    was looked at, so that none is.
    """
    comments = ignores(module)
    for finding in findings:
        hiding = [one for one in comments if finding.place.line in one.lines and finding.rule in one.rules]
        for one in hiding:
            one.used.add(finding.rule)
        if not hiding or finding.rule in _NOT_HIDDEN:
            yield finding
    for one in comments:
        yield from _unexplained(one)
        if silent is not None:
            yield from _unused(one, module, silent)


def _unexplained(one: Ignore) -> Iterator[Finding]:
    if not one.why:
        ids = ", ".join(sorted(one.rules)) or "nothing"
        yield Finding(
            "DP901",
            one.place,
            f"the comment that ignores {ids} says no reason",
            "Write why after the bracket: the next reader will ask.",
            "<module>",
            "why?",
        )


def _unused(one: Ignore, module: Module, silent: Collection[str]) -> Iterator[Finding]:
    unused = one.rules.difference(one.used, silent)
    if unused or not one.rules:
        ids = ", ".join(sorted(unused)) or "no rule"
        yield Finding(
            "DP902",
            one.place,
            f"nothing here violates {ids}",
            "Remove it.",
            "<module>",
            "not needed",
            fix=_without(one, unused, module),
        )


def _without(one: Ignore, unused: frozenset[str], module: Module) -> Fix | None:
    """Take the comment away, with the blanks before it, if all of it hides nothing."""
    if unused != one.rules or not one.is_ours:
        return None
    line = module.lines[one.place.line - 1]
    kept = len(line[: one.place.column - 1].rstrip())
    place = one.place._replace(column=kept + 1)
    return Fix("Remove the comment", (Edit(place, ""),), is_safe=True)


def _definitions(module: Module) -> dict[int, range]:
    """The lines of each function and class, by the line where its `def` or `class` stands."""
    return {
        node.lineno: range(
            min([node.lineno, *(each.lineno for each in node.decorator_list)]), (node.end_lineno or 0) + 1
        )
        for node in module.defined.values()
        if isinstance(node, ast.AST)
    }
