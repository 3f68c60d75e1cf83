"""The campaign that changes the code: what it changes, and that it tells what is noticed from what is not."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from tests.campaigns.mutants.changing import Change, changes
from tests.campaigns.mutants.forking import forked
from tests.campaigns.mutants.suite import ROOT, Suite
from tests.campaigns.mutants.trying import Tried, score


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


TRYING = """
import sys
from pathlib import Path
from tests.campaigns.mutants import session, trying

lanes = "return 0 if lanes == 1 else"
chosen = [one for one in trying.all_changes(["subscriptions"]) if one.path.endswith(("/lanes.py", "/trend.py"))]
chosen = [one for one in chosen if one.old.startswith(lanes) or one.old == "seconds < 120"]
plan = trying.Plan(chosen, Path(sys.argv[1]), 2, 60.0, sys.argv[2:])
session.try_planned(plan, print)
"""


def test_a_change_that_a_test_notices_is_told_from_one_that_none_does(tmp_path: Path) -> None:
    """And what was tried once is not tried again."""

    def verdicts(*places: str) -> dict[str, str]:
        words = [sys.executable, "-c", TRYING, str(tmp_path), *places]
        subprocess.run(words, cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"})
        lines = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
        assert len(lines) == 2
        return {Path(change[0]).stem: verdict for change, verdict, _ in lines}

    blind = tmp_path / "test_blind.py"  # it runs the line, and looks at nothing
    blind.write_text("from diptych.subscriptions.trend import duration\n\ndef test():\n    duration(60.0)\n")
    assert verdicts("subscriptions/test_lanes.py") == {"lanes": "killed", "trend": "not run"}
    assert verdicts("subscriptions/test_trend.py") == {"lanes": "killed", "trend": "not run"}
    (tmp_path / "verdicts.jsonl").unlink()
    assert verdicts(str(blind)) == {"lanes": "not run", "trend": "survived"}


def test_work_that_ends_its_process_or_never_ends_is_no_success() -> None:
    assert forked(lambda: True, 60) is True
    assert forked(lambda: os._exit(7), 60) is False
    assert forked(lambda: bool(1 / 0), 60) is False
    assert forked(lambda: threading.Event().wait(), 0.2) is None


def test_near_and_quick_tests_that_run_the_line_come_first() -> None:
    seconds = {"tests/web/slow": 9.0, "tests/web/quick": 0.1, "tests/write/other": 1.0, "tests/read/b": 2.0}
    seconds |= {"tests/web/test_bus.py::a": 3.0, "tests/web/very_slow": 30.0}
    suite = Suite(
        {"src/x/read/bus.py": {1: frozenset({*seconds} - {"tests/write/other"}), 2: frozenset({"tests/write/other"})}},
        seconds,
    )
    change = Change("src/x/read/bus.py", 1, 0, 1, 1, "a", "b")
    nearest = ["tests/web/test_bus.py::a", "tests/read/b", "tests/web/quick", "tests/web/slow"]
    assert suite.of(change, 60.0) == [*nearest, "tests/web/very_slow"]
    assert suite.of(change, 20.0) == nearest
    assert suite.of(change, 7.0) == nearest[:3]


def test_the_score_is_the_share_that_was_noticed() -> None:
    one = Change(str(Path("src/diptych/read/bus.py")), 1, 0, 1, 1, "a", "b")
    share, table = score([Tried(one, "killed"), Tried(one, "timeout"), Tried(one, "survived"), Tried(one, "not run")])
    assert share == 0.5
    assert table.splitlines()[-1].split() == ["all", "1", "1", "1", "1", "50.0%"]
