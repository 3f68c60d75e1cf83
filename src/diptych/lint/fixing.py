"""Carries out what findings propose: all edits of a fix or none, never two that touch, never a file that is no Python.

Rule: text in, text out.
"""

import ast
from collections.abc import Iterable, Sequence
from difflib import unified_diff

from diptych.lint.findings import Edit, Finding


def fixed(text: str, findings: Iterable[Finding], *, is_unsafe: bool = False) -> tuple[str, list[Finding]]:
    """Return a file's text with the fixes of its findings, and those that were carried out.

    Of fixes that touch each other only the first is: check again, and the next is not in its way any more.
    """
    taken: list[tuple[int, int, str]] = []
    done: list[Finding] = []
    needed: list[tuple[str, str]] = []
    for finding in findings:
        fix = finding.fix
        if fix is None or not (fix.is_safe or is_unsafe):
            continue
        spans = [_span(edit, text) for edit in fix.edits]
        if not any(_touch(span, other) for span in spans for other in taken):
            taken += spans
            done.append(finding)
            needed += fix.imports
    if not done:
        return text, []
    try:
        result = with_imports(_applied(text, taken), needed)
        ast.parse(result)
    except SyntaxError:
        return text, []
    return result, done


def with_imports(text: str, needed: Sequence[tuple[str, str]]) -> str:
    """Return the text with imports that it lacks, below those that it has, else below its docstring."""
    tree = ast.parse(text)
    known = {
        (node.module, alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and not node.level
        for alias in node.names
        if alias.asname is None
    }
    known |= {(alias.name, "") for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    missing = sorted({each for each in needed if each not in known})
    if not missing:
        return text
    imports = [node.end_lineno or 0 for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    first = tree.body[0] if tree.body else None
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    at = max(imports, default=(first.end_lineno or 0) if first is not None and is_docstring else 0)
    lines = text.split("\n")
    added = [f"from {module} import {name}" if name else f"import {module}" for module, name in missing]
    return "\n".join([*lines[:at], *added, *lines[at:]])


def changed_lines(finding: Finding, text: str) -> list[str]:
    """Return what a fix changes as a diff without its head."""
    after, done = fixed(text, [finding], is_unsafe=True)
    if not done:
        return []
    diff = list(unified_diff(text.split("\n"), after.split("\n"), n=0, lineterm=""))
    return [line for line in diff[2:] if not line.startswith("@@")]


def _applied(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    for start, end, new in sorted(spans, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _span(edit: Edit, text: str) -> tuple[int, int, str]:
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    place = edit.place
    return starts[place.line - 1] + place.column - 1, starts[place.end_line - 1] + place.end_column - 1, edit.text


def _touch(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
