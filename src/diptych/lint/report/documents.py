"""Whole documents for programs: JSON, SARIF 2.1.0 (OASIS), GitLab's code quality, JUnit."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from diptych.lint.findings import Finding, Place, Severity
from diptych.lint.report.full import severity_of
from diptych.lint.rule import AnyRule

_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_GRADES: Final = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.INFO: "info"}
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_json(findings: Sequence[Finding], rules: Mapping[str, AnyRule]) -> str:
    """Return an array of objects."""
    return json.dumps([_plain(one, rules) for one in findings], indent=2)


def _plain(one: Finding, rules: Mapping[str, AnyRule]) -> dict[str, Any]:
    fix = one.fix
    return {
        "rule": one.rule,
        "severity": str(severity_of(one, rules)),
        **one.place._asdict(),
        "name": one.name,
        "message": one.message,
        "hint": one.hint,
        "notes": [{**note.place._asdict(), "text": note.text} for note in one.notes],
        "fix": fix and {"title": fix.title, "is_safe": fix.is_safe, "edits": [_edit(each) for each in fix.edits]},
    }


def _edit(each: Any) -> dict[str, Any]:
    return {**each.place._asdict(), "text": each.text}


def sarif(findings: Sequence[Finding], rules: Mapping[str, AnyRule], version: str) -> str:
    """Return a log with one run."""
    told = sorted({one.rule for one in findings})
    driver = {
        "name": "diptych check",
        "version": version,
        "rules": [_rule(id, rules.get(id)) for id in told],
    }
    results = [
        {
            "ruleId": one.rule,
            "ruleIndex": told.index(one.rule),
            "level": _LEVELS[severity_of(one, rules)],
            "message": {"text": f"{one.message}. {one.hint}"},
            "locations": [
                {**_location(one.place), "logicalLocations": [{"fullyQualifiedName": one.name or "<module>"}]}
            ],
            "relatedLocations": [{**_location(note.place), "message": {"text": note.text}} for note in one.notes],
            "partialFingerprints": {"diptych/v1": mark},
        }
        for one, mark in zip(findings, fingerprints(findings), strict=True)
    ]
    runs = [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}]
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": runs}, indent=2)


def fingerprints(findings: Sequence[Finding]) -> list[str]:
    """Return for each what stays when lines move: rule, file, name, message, and which of several such it is."""
    seen: Counter[tuple[str, ...]] = Counter()
    made = []
    for one in findings:
        it = (one.rule, one.place.path, one.name, one.message)
        made.append(sha256("\0".join((*it, *([str(seen[it])] if seen[it] else []))).encode()).hexdigest()[:32])
        seen[it] += 1
    return made


def _rule(id: str, rule: AnyRule | None) -> dict[str, Any]:
    if rule is None:
        return {"id": id}
    return {"id": id, "shortDescription": {"text": rule.title}, "fullDescription": {"text": rule.why}}


def _location(place: Place) -> dict[str, Any]:
    region = {
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    }
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(place.path)}, "region": region}}


def _uri(path: str) -> str:
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(path).is_absolute():
            return kind(path).as_uri()
    return quote(path)


def gitlab(findings: Sequence[Finding], rules: Mapping[str, AnyRule]) -> str:
    """Return a report of GitLab's code quality."""
    return json.dumps(
        [
            {
                "check_name": one.rule,
                "description": one.message,
                "content": {"body": one.hint},
                "fingerprint": mark,
                "severity": _GRADES[severity_of(one, rules)],
                "location": {"path": one.place.path, "lines": {"begin": one.place.line, "end": one.place.end_line}},
            }
            for one, mark in zip(findings, fingerprints(findings), strict=True)
        ],
        indent=2,
    )


def junit(findings: Sequence[Finding], files: int) -> str:
    """Return a test suite: each finding is a failure, and one case passes when there is none."""
    cases = [
        f"  <testcase classname={quoteattr(one.place.path)} name={quoteattr(f'{one.rule} line {one.place.line}')}>\n"
        f"    <failure type={quoteattr(one.rule)} message={quoteattr(one.message)}>"
        f"{escape(f'{one.place.path}:{one.place.line}:{one.place.column}: {one.message} {one.hint}')}</failure>\n"
        "  </testcase>"
        for one in findings
    ] or [f'  <testcase classname="diptych check" name="{files} files" />']
    head = f'<testsuite name="diptych check" tests="{len(cases)}" failures="{len(findings)}" errors="0">'
    text = "\n".join(['<?xml version="1.0" encoding="utf-8"?>', head, *cases, "</testsuite>"])
    return _NO_XML.sub("\ufffd", text)
