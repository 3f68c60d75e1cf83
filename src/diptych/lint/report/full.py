"""For people: what, where with the line of code under carets, why it matters, what to do instead.

In the manner of rustc's diagnostics.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from diptych.lint.findings import Finding, Place, Severity
from diptych.lint.rule import AnyRule
from diptych.lint.rules.table import META

Paint = Callable[[str, str], str]
"""Gives a text a style: `red`, `yellow`, `cyan`, `blue`, `bold`, `dim`."""

_STYLES: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def full(findings: Sequence[Finding], texts: Mapping[str, str], rules: Mapping[str, AnyRule], paint: Paint) -> str:
    """Return all findings, a blank line between two."""
    return "\n\n".join(_one(finding, texts, rules.get(finding.rule), paint) for finding in findings)


def severity_of(finding: Finding, rules: Mapping[str, AnyRule]) -> Severity:
    """Return how bad it is."""
    rule = rules.get(finding.rule)
    return META.get(finding.rule, Severity.ERROR) if rule is None else rule.severity


def _one(finding: Finding, texts: Mapping[str, str], rule: AnyRule | None, paint: Paint) -> str:
    severity = META.get(finding.rule, Severity.ERROR) if rule is None else rule.severity
    width = len(str(max([finding.place.end_line, *(note.place.end_line for note in finding.notes)])))
    blank = " " * width
    lines = [
        paint(f"{severity}[{finding.rule}]", _STYLES[severity]) + paint(f": {finding.message}", "bold"),
        *_snippet(finding.place, finding.label, texts, width, _STYLES[severity], paint),
    ]
    for note in finding.notes:
        lines += _snippet(note.place, note.text, texts, width, "blue", paint)
    bar = paint(f"{blank} =", "blue")
    if rule is not None:
        lines += _wrapped(f"{bar} why: ", _first_sentence(rule.why), len(blank) + 3)
    lines += _wrapped(f"{bar} help: ", finding.hint, len(blank) + 3)
    if finding.fix is not None:
        how = "--fix" if finding.fix.is_safe else "--unsafe-fixes"
        lines.append(f"{bar} fix ({how}): {finding.fix.title}")
        lines += [paint(f"{blank} | {line}", "dim") for line in _edited(finding, texts)]
    return "\n".join(lines)


def _snippet(place: Place, label: str, texts: Mapping[str, str], width: int, style: str, paint: Paint) -> list[str]:
    """A place with its line, and carets under it; under a place that only belongs to it dashes."""
    blank, source = " " * width, texts.get(place.path, "").split("\n")
    at = f"{blank}{paint('-->', 'blue')} {place.path}:{place.line}:{place.column}"
    if place.line > len(source):
        return [at]
    line = source[place.line - 1]
    last = place.end_column if place.end_line == place.line else len(line) + 1
    before = "".join(char if char == "\t" else " " for char in line[: place.column - 1])
    carets = ("-" if style == "blue" else "^") * max(1, last - place.column)
    bar = paint("|", "blue")
    return [
        at,
        f"{blank} {bar}",
        f"{paint(f'{place.line:>{width}}', 'blue')} {bar} {line}",
        f"{blank} {bar} {before}{paint(f'{carets} {label}'.rstrip(), style)}",
    ]


def _wrapped(head: str, text: str, indent: int) -> list[str]:
    lines = text.strip("\n").split("\n")
    return [head + lines[0], *(f"{' ' * indent}{line}" for line in lines[1:])]


def _first_sentence(text: str) -> str:
    return text.split(". ", maxsplit=1)[0].rstrip(".") + "."


def _edited(finding: Finding, texts: Mapping[str, str]) -> list[str]:
    """The lines that the fix changes, before and after."""
    from diptych.lint.fixing import changed_lines

    return changed_lines(finding, texts.get(finding.place.path, ""))
