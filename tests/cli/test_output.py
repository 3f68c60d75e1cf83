"""Tables for people, TSV for pipes, JSON for programs."""

import io
import json
import sys

import pytest

from diptych.cli.output import age, is_coloured, show

ROWS = [{"name": "sales", "state": "behind", "lag": 1.5, "error": None}]


def test_a_pipe_gets_one_line_per_row_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    show(("name", "error"), [{"name": "a\tb", "error": "two\nlines"}], as_json=False)
    assert capsys.readouterr().out == "name\terror\na b\ttwo lines\n"


def test_json_keeps_what_is_nothing_apart_from_what_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    show(("name",), ROWS, as_json=True)
    assert json.loads(capsys.readouterr().out) == ROWS


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    show(("name", "state", "lag"), ROWS, as_json=False)
    assert "sales" in terminal.getvalue()
    assert "\t" not in terminal.getvalue()


def test_a_narrow_terminal_gets_a_block_for_each_row_with_nothing_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "30")
    show(("name", "state", "lag", "error"), [{**ROWS[0], "name": "customer_totals", "error": "x" * 40}], as_json=False)
    lines = [line.strip() for line in terminal.getvalue().splitlines()]
    assert lines[0] == "name   customer_totals"
    assert "".join(lines).count("x") == 40


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 ms"),
        (0.25, "250 ms"),
        (3.2, "3.2 s"),
        (45, "45 s"),
        (600, "10 min"),
        (7300, "2 h"),
        (864_000, "10 d"),
    ],
)
def test_an_age_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert age(seconds) == said


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: bool
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_coloured() is wanted
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    assert not is_coloured()
