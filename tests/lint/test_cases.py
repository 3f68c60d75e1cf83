"""Each rule against its own two files: the wrong one gives exactly its finding, the right one none."""

import sys
from functools import cache
from pathlib import Path

import pytest

import diptych.lint
from diptych.lint.findings import Finding
from diptych.lint.registry import Fault, ask
from diptych.lint.rule import AnyRule
from diptych.lint.rules.table import RULES
from diptych.lint.running import parse, run

CASES = Path(diptych.lint.__file__).parent / "cases"


@cache
def findings(rule: AnyRule, case: str) -> list[Finding]:
    """Hold all rules against a case: a file, or a folder of them with an `app.py` that is asked how it is wired."""
    at = CASES / rule.id / case
    paths = sorted(at.rglob("*.py")) if at.is_dir() else [at.with_suffix(".py")]
    root = at if at.is_dir() else at.parent
    project, faults = parse({str(path.relative_to(root)): path.read_text() for path in paths})
    facts = ask([sys.executable, "-B", "-m", "diptych.cli.inspecting", "app.py"], at) if at.is_dir() else None
    assert not isinstance(facts, Fault), facts
    rules = [one for one in RULES if one.is_default or one is rule]
    return faults + run(project, rules, facts)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_the_wrong_file_gives_exactly_its_finding(rule: AnyRule) -> None:
    assert [finding.rule for finding in findings(rule, "wrong")] == [rule.id]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_the_right_file_gives_none(rule: AnyRule) -> None:
    assert findings(rule, "right") == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_finding_says_where_and_what_to_do(rule: AnyRule) -> None:
    (found,) = findings(rule, "wrong")
    assert found.name not in ("", None)
    assert found.place.line > 0 < found.place.column
    assert found.hint.strip()
    assert found.hint.strip()[-1] in ".`)"


def test_no_case_is_without_a_rule() -> None:
    assert sorted(path.name for path in CASES.iterdir() if path.is_dir()) == [rule.id for rule in RULES]
