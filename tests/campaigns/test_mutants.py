"""The campaign that changes the code: what it changes, and that it tells what is noticed from what is not."""

from pathlib import Path
from textwrap import dedent

import pytest

from tests.campaigns.mutants.changing import Change, changes
from tests.campaigns.mutants.suite import Suite, copy, tried
from tests.campaigns.mutants.trying import Tried, all_changes, score


def changed(code: str) -> list[str]:
    """Every version of a function's body that a change makes of it."""
    text = f"def f(a, b):\n    {code}\n"
    return [" ".join(one.applied(text).splitlines()[1:]).strip() for one in changes("f.py", text)]


@pytest.mark.parametrize(
    ("code", "becomes"),
    [
        ("x = a < b", ["x = (a <= b)"]),
        ("x = a is None", ["x = (a is not None)"]),
        ("x = a and b", ["x = (a or b)"]),
        ("x = not a", ["x = (a)"]),
        ("x = a + 1", ["x = (a - 1)", "x = a + 2"]),
        ("a += b", ["a -= b"]),
        ("x = True", ["x = False"]),
        ("f(a)", ["pass"]),
        ("raise a", ["pass"]),
        ("return a", ["return None"]),
        ("x = f'{a + 1}'", []),
        ("_log.info(a + 1)", []),
        ("assert a < b", []),
        ("x: int = b", []),
    ],
)
def test_one_thing_is_changed_at_a_time(code: str, becomes: list[str]) -> None:
    assert changed(code) == becomes


def test_a_change_leaves_all_other_lines_where_they_are() -> None:
    text = dedent('''\
        def f(a):
            """Ü, and a < b."""
            if (a <
                    1):
                return "é"
            return a
        ''')
    for change in changes("f.py", text):
        after = change.applied(text).splitlines()
        assert after[: change.line - 1] == text.splitlines()[: change.line - 1]
        assert after[len(after) - (6 - change.end_line) :] == text.splitlines()[change.end_line :]


def test_a_change_that_a_test_notices_is_told_from_one_that_none_does() -> None:
    tests = ["tests/subscriptions/test_lanes.py", "tests/subscriptions/test_trend.py"]
    by_file = {one.path: one for one in all_changes(["subscriptions"]) if one.path.endswith("subscriptions/lanes.py")}
    (change,) = by_file.values()
    with copy() as at:
        before = (at / change.path).read_text()
        assert tried(change, tests[:1], at, 60) == "killed"
        assert tried(change, tests[1:], at, 60) == "survived"
        assert tried(change, [], at, 60) == "not run"
        assert (at / change.path).read_text() == before


def test_quick_tests_that_run_the_line_come_first() -> None:
    suite = Suite(
        {("f.py", 1): frozenset({"slow", "quick"}), ("f.py", 2): frozenset({"other"})},
        {"slow": 9.0, "quick": 0.1, "other": 1.0},
    )
    assert suite.of(Change("f.py", 1, 0, 1, 1, "a", "b")) == ["quick", "slow"]


def test_the_score_is_the_share_that_was_noticed() -> None:
    one = Change(str(Path("src/diptych/read/bus.py")), 1, 0, 1, 1, "a", "b")
    share, table = score([Tried(one, "killed"), Tried(one, "timeout"), Tried(one, "survived"), Tried(one, "not run")])
    assert share == 0.5
    assert table.splitlines()[-1].split() == ["all", "1", "1", "1", "1", "50.0%"]
