"""`diptych check` and `diptych rule`, as they are typed."""

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from diptych.cli.main import cli
from diptych.errors import ConfigurationError
from diptych.lint.rules.table import BY_ID, META, RULES
from diptych.lint.settings import read_settings

WRONG = """\
from diptych import Aggregate


class Order(Aggregate):
    def ship(self) -> None:
        self.is_shipped = True
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "orders.py").write_text(WRONG)
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(*words: str) -> Result:
    return CliRunner().invoke(cli, ["check", *words], catch_exceptions=False)


def test_what_is_found_is_shown_with_its_line_and_what_to_do() -> None:
    result = typed()
    assert result.exit_code == 1
    assert result.stdout == (
        "error[DP304]: `Order.ship` sets `self.is_shipped` outside @on; the change is lost on the next load\n"
        " --> shop/orders.py:6:9\n"
        "  |\n"
        "6 |         self.is_shipped = True\n"
        "  |         ^^^^^^^^^^^^^^^^^^^^^^ state changes only in @on\n"
        "  = why: An aggregate is rebuilt from its events.\n"
        "  = help: Record an event, and set `is_shipped` in the @on method of that event.\n"
    )
    assert "1 file checked: 1 error." in result.stderr


def test_nothing_found_is_exit_0_and_silence() -> None:
    result = typed("--ignore", "DP304")
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_folder_below_the_root_is_told_of_from_the_root(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project / "shop")
    assert typed("--format", "concise").stdout.startswith("shop/orders.py:6:9: error DP304 ")


def test_forms_for_programs_can_be_read_by_them() -> None:
    (one,) = json.loads(typed("--format", "json").stdout)
    assert (one["rule"], one["path"], one["line"], one["name"]) == ("DP304", "shop/orders.py", 6, "Order.ship")
    (run,) = json.loads(typed("--format", "sarif").stdout)["runs"]
    assert [each["ruleId"] for each in run["results"]] == ["DP304"]
    (issue,) = json.loads(typed("--format", "gitlab").stdout)
    assert issue["location"] == {"path": "shop/orders.py", "lines": {"begin": 6, "end": 6}}
    assert typed("--format", "github").stdout.startswith("::error file=shop/orders.py,line=6,endLine=6,col=9,")
    suite = ElementTree.fromstring(typed("--format", "junit").stdout)
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")


def test_fingerprints_stay_when_lines_move(project: Path) -> None:
    def prints() -> list[Any]:
        results = json.loads(typed("--format", "sarif").stdout)["runs"][0]["results"]
        return [each["partialFingerprints"] for each in results]

    before = prints()
    (project / "shop" / "orders.py").write_text(f"# a comment\n{WRONG}")
    assert prints() == before


def test_a_baseline_hides_what_was_there_and_only_shrinks(project: Path) -> None:
    file = project / "shop" / "orders.py"
    assert typed("--baseline", "write").exit_code == 0
    assert typed().exit_code == 0
    file.write_text(f"\n{WRONG}\n    def cancel(self) -> None:\n        self.is_cancelled = True\n")
    result = typed("--format", "concise")
    assert (result.exit_code, result.stdout.count("\n")) == (1, 1)
    assert "is_cancelled" in result.stdout
    with pytest.raises(Exception, match="a baseline only shrinks"):
        typed("--baseline", "write")
    file.write_text("")
    result = typed("--format", "concise")
    assert result.exit_code == 0
    assert "DP903 1 entry looks mended: DP304 in Order.ship" in result.stdout
    typed("--baseline", "prune")
    assert typed().stdout == ""


def test_a_part_of_the_project_tells_of_nothing_stale_elsewhere(project: Path) -> None:
    typed("--baseline", "write")
    (project / "other.py").write_text("")
    assert typed("other.py").stdout == ""


def test_a_part_of_the_rules_or_of_the_project_loses_nothing_of_a_baseline(project: Path) -> None:
    typed("--baseline", "write")
    file = project / "diptych-baseline.toml"
    before = file.read_text()
    for words in (["--select", "DP2"], ["--ignore", "DP304"], ["shop"]):
        (project / "shop" / "orders.py").write_text("")
        assert typed("--format", "concise", *words).stdout == "", words
        for act in ("prune", "write"):
            assert typed("--baseline", act, *words).exit_code == 0
            assert file.read_text() == before, (words, act)


def test_a_file_that_cannot_be_read_hides_nothing_that_is_stale(project: Path) -> None:
    typed("--baseline", "write")
    (project / "shop" / "orders.py").write_text("def (\n")
    assert "DP903" not in typed("--format", "concise").stdout
    (project / "shop" / "orders.py").unlink()
    assert "DP903 1 entry looks mended" in typed("--format", "concise").stdout


def test_a_baseline_that_is_empty_does_not_grow_either(project: Path) -> None:
    (project / "shop" / "orders.py").write_text("")
    typed("--baseline", "write")
    (project / "shop" / "orders.py").write_text(WRONG)
    with pytest.raises(Exception, match="a baseline only shrinks"):
        typed("--baseline", "write")


def test_a_comment_for_a_rule_that_did_not_run_is_left_alone(project: Path) -> None:
    """Nor where only a part of the project was looked at: what it hides may need a file that was not."""
    text = "x = 1  # diptych: ignore[DP304] once\ny = 1  # diptych: ignore[DP601] its handler is a plugin's\n"
    (project / "shop" / "orders.py").write_text(text)
    for words in (["--select", "DP2"], ["--ignore", "DP304"], ["shop"], ["shop/orders.py"]):
        assert typed("--fix", *words).exit_code == 0
        assert (project / "shop" / "orders.py").read_text() == text, words
    assert [line.split()[2] for line in typed("--format", "concise").stdout.splitlines()] == ["DP902"]


def test_what_is_said_of_comments_can_be_ignored_too(project: Path) -> None:
    (project / "shop" / "orders.py").write_text("x = 1  # diptych: ignore[DP304]\n")
    assert [line.split()[2] for line in typed("--format", "concise").stdout.splitlines()] == ["DP901", "DP902"]
    assert typed("--ignore", "DP902", "--format", "concise").stdout.split()[2] == "DP901"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\xef\xbb\xbfx = 1  # diptych: ignore[DP304] once\n", b"\xef\xbb\xbfx = 1\n"),
        (b"x = 1  # diptych: ignore[DP304] once\r\ny = 2\r\n", b"x = 1\r\ny = 2\r\n"),
        (
            b"# coding: latin-1\nx = '\xe4'  # diptych: ignore[DP304] once\n",
            b"# coding: latin-1\nx = '\xe4'\n",
        ),
    ],
)
def test_a_fix_leaves_a_file_written_as_it_was(project: Path, before: bytes, after: bytes) -> None:
    file = project / "shop" / "orders.py"
    file.write_bytes(before)
    file.chmod(0o750)
    assert typed("--fix").exit_code == 0
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (after, 0o750)
    assert [each.name for each in (project / "shop").iterdir()] == ["orders.py"]


@pytest.mark.parametrize("data", [b"x = '\xe4'\n", b"# coding: klingon\n", b"x = 1\x00\n"])
def test_a_file_that_is_no_text_is_one_finding_and_the_others_are_checked(project: Path, data: bytes) -> None:
    (project / "shop" / "noise.py").write_bytes(data)
    lines = typed("--format", "concise").stdout.splitlines()
    assert [line.split()[2] for line in lines] == ["DP904", "DP304"]


def test_a_setting_that_is_not_known_is_refused_with_the_nearest(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.diptych.check]\nselct = ["DP3"]\n')
    with pytest.raises(Exception, match=r"knows no selct. Did you mean select\?"):
        typed()


def test_the_heart_cannot_be_switched_off() -> None:
    with pytest.raises(Exception, match="cannot be switched off for a whole project"):
        typed("--ignore", "DP1")


def test_excluded_files_are_checked_only_when_named(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.diptych.check]\nexclude = ["shop"]\n')
    assert typed().exit_code == 0
    assert typed("shop/orders.py").exit_code == 1


def test_a_file_that_is_no_python_is_one_finding(project: Path) -> None:
    (project / "broken.py").write_text("def (\n")
    assert "broken.py:1:5: error DP904 invalid syntax" in typed("--format", "concise").stdout


def test_an_unused_comment_is_taken_away_by_fix(project: Path) -> None:
    file = project / "shop" / "orders.py"
    file.write_text("x = 1  # diptych: ignore[DP304] once\n")
    assert "-x = 1  # diptych: ignore[DP304] once\n+x = 1\n" in typed("--diff").stdout
    assert file.read_text() == "x = 1  # diptych: ignore[DP304] once\n"
    assert typed("--fix").exit_code == 0
    assert file.read_text() == "x = 1\n"


@pytest.mark.parametrize("id", [rule.id for rule in RULES])
def test_each_rule_has_a_page(id: str) -> None:
    result = CliRunner().invoke(cli, ["rule", id])
    assert result.exit_code == 0
    assert "Wrong" in result.stdout
    assert "Right" in result.stdout
    assert len(result.stdout.split("\n\n")[2]) > 80, "why it is a rule"


def test_rules_are_listed() -> None:
    result = CliRunner().invoke(cli, ["rule"])
    assert [line.split()[0] for line in result.stdout.splitlines()] == [*(rule.id for rule in RULES), *META]


@pytest.mark.parametrize("id", META)
def test_what_is_said_of_comments_and_files_has_a_page_too(id: str) -> None:
    result = CliRunner().invoke(cli, ["rule", id])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{id}: ")
    assert len(result.stdout.split("\n\n")[2]) > 80, "why it is said"


@pytest.mark.parametrize(
    "text",
    ["tool = 3\n", "[tool]\ndiptych = 3\n", "[tool.diptych]\ncheck = 3\n", "[tool.diptych]\napp = 3\n", "tool", "\\"],
)
def test_a_setting_of_another_kind_is_refused_in_a_sentence(project: Path, text: str) -> None:
    (project / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml"):
        typed()


def test_the_heart_stays_on_whatever_a_project_selects(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.diptych.check]\nselect = ["DP3"]\n')
    assert {"DP101", "DP103", "DP201", "DP202", "DP3"} == set(read_settings(project, [*BY_ID]).select)


def test_without_the_parser_of_sql_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    result = typed("--no-cache")
    assert "SQL in strings was not looked at: pip install 'diptych[lint]'." in result.stderr
    assert "error[DP304]" in result.stdout


def test_a_diff_shows_what_is_unsafe_only_when_asked_and_changes_nothing(project: Path) -> None:
    file = project / "shop" / "orders.py"
    file.write_text("from diptych import DomainEvent\n\n\nclass Paid(DomainEvent):\n    price: float\n")
    before = file.read_text()
    assert "+    price: Decimal\n" not in typed("--diff", "--format", "concise").stdout
    result = typed("--diff", "--unsafe-fixes", "--format", "concise")
    assert "-    price: float\n" in result.stdout
    assert "+    price: Decimal\n" in result.stdout
    assert "1 would be fixed." in result.stderr
    assert file.read_text() == before
