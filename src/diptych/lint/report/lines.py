"""One line for each finding: for editors and terminals, and as commands that GitHub turns into annotations."""

from collections.abc import Mapping, Sequence
from typing import Final

from diptych.lint.findings import Finding, Severity
from diptych.lint.report.full import severity_of
from diptych.lint.rule import AnyRule

_COMMANDS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def concise(findings: Sequence[Finding], rules: Mapping[str, AnyRule]) -> str:
    """Return `path:line:column: error DP303 message`, a line each."""
    return "\n".join(
        f"{one.place.path}:{one.place.line}:{one.place.column}: {severity_of(one, rules)} {one.rule} {one.message}"
        for one in findings
    )


def github(findings: Sequence[Finding], rules: Mapping[str, AnyRule]) -> str:
    """Return workflow commands of GitHub Actions, a line each."""
    return "\n".join(
        f"::{_COMMANDS[severity_of(one, rules)]} file={_property(one.place.path)},line={one.place.line},"
        f"endLine={one.place.end_line},col={one.place.column},endColumn={one.place.end_column},"
        f"title={one.rule}::{_data(f'{one.message} {one.hint}')}"
        for one in findings
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
