"""Documents for programs: what those programs ask of them."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema_rs
import pytest

from diptych.lint.findings import Finding, Note, Place
from diptych.lint.pages import files_of
from diptych.lint.plugins import all_rules
from diptych.lint.report.documents import as_json, gitlab, junit, sarif
from diptych.lint.rules.table import META, RULES
from diptych.lint.running import parse, run

SCHEMA = Path(__file__).parent / "sarif-2.1.0.json"
REGION = Place("shop/orders.py", 6, 9, 6, 31)


@pytest.fixture(scope="module")
def is_sarif() -> jsonschema_rs.Draft4Validator:
    # One bracket in it stands for itself, which a strict reader of patterns refuses.
    text = SCHEMA.read_text("utf-8").replace("{2}]?$", r"{2}\\]?$")
    return jsonschema_rs.Draft4Validator(json.loads(text), validate_formats=True)


def faults(is_sarif: jsonschema_rs.Draft4Validator, findings: list[Finding]) -> tuple[list[str], Any]:
    log = json.loads(sarif(findings, all_rules([]), "1.2.3"))
    return [f"{error.instance_path}: {error.message}" for error in is_sarif.iter_errors(log)], log


def found_in_cases() -> list[Finding]:
    """What every wrong file of ours gives, each in a project of its own."""
    found = []
    for rule in RULES:
        project, _ = parse(
            {name or "wrong.py": text for name, text in files_of(rule.id, "wrong") if ".toml" not in name}
        )
        found += run(project, RULES)
    return found


def test_what_every_rule_finds_is_sarif_by_its_schema(is_sarif: jsonschema_rs.Draft4Validator) -> None:
    findings = found_in_cases()
    assert len({one.rule for one in findings}) > 20
    assert any(one.notes for one in findings)
    wrong, log = faults(is_sarif, findings)
    assert wrong == []
    assert len(log["runs"][0]["results"]) == len(findings)


@pytest.mark.parametrize("rule", META)
def test_what_is_said_of_comments_and_files_is_sarif_too(is_sarif: jsonschema_rs.Draft4Validator, rule: str) -> None:
    assert faults(is_sarif, [Finding(rule, REGION, "m", "h")])[0] == []


def test_nothing_found_is_sarif(is_sarif: jsonschema_rs.Draft4Validator) -> None:
    assert faults(is_sarif, [])[0] == []


def test_the_schema_refuses_what_is_no_sarif(is_sarif: jsonschema_rs.Draft4Validator) -> None:
    _, log = faults(is_sarif, [Finding("DP304", REGION, "m", "h")])
    log["runs"][0]["results"][0]["level"] = "critical"
    assert not is_sarif.is_valid(log)


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("my shop/50%.py", "my%20shop/50%25.py"),
        ("läden/a#b.py", "l%C3%A4den/a%23b.py"),
        ("/else where/a.py", "file:///else%20where/a.py"),
        ("C:/shop/a.py", "file:///C:/shop/a.py"),
    ],
)
def test_a_path_is_told_as_the_uri_it_is(is_sarif: jsonschema_rs.Draft4Validator, path: str, uri: str) -> None:
    place = REGION._replace(path=path)
    wrong, log = faults(is_sarif, [Finding("DP304", place, "m", "h", notes=(Note(place, "here"),))])
    assert wrong == []
    (result,) = log["runs"][0]["results"]
    for each in (*result["locations"], *result["relatedLocations"]):
        assert each["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_each_result_points_at_its_rule(is_sarif: jsonschema_rs.Draft4Validator) -> None:
    _, log = faults(is_sarif, found_in_cases())
    (told,) = log["runs"]
    rules = told["tool"]["driver"]["rules"]
    assert all(rules[each["ruleIndex"]]["id"] == each["ruleId"] for each in told["results"])


def test_two_findings_of_one_function_have_two_fingerprints() -> None:
    """GitLab takes two issues with one fingerprint for one."""
    one = Finding("DP304", REGION, "`Order.ship` sets `self.x`", "h", "Order.ship")
    other = one._replace(place=REGION._replace(line=9, end_line=9))
    prints = [each["fingerprint"] for each in json.loads(gitlab([one, other], all_rules([])))]
    assert len(set(prints)) == 2
    assert json.loads(gitlab([one], all_rules([])))[0]["fingerprint"] == prints[0]


def test_signs_that_xml_knows_are_text_in_junit() -> None:
    hostile = Finding("DP304", REGION._replace(path='a"<&>.py'), '`x` < 3 & "y" ]]>\x01', "Do <b>.", "f")
    suite = ElementTree.fromstring(junit([hostile], 1).encode())
    (case,) = suite
    assert case.get("classname") == 'a"<&>.py'
    (failure,) = case
    assert (failure.get("message") or "").startswith('`x` < 3 & "y" ]]>')


def test_json_tells_of_every_place() -> None:
    findings = [one for one in found_in_cases() if one.notes]
    told = json.loads(as_json(findings, all_rules([])))
    assert [len(each["notes"]) for each in told] == [len(one.notes) for one in findings]
