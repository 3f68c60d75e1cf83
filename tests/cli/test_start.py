"""What a start of the command line costs: only what the verb that was typed needs is imported."""

import subprocess
import sys

import pytest

LOADED = """
import sys
before = set(sys.modules)
from diptych.cli.main import cli
for words in {lines!r}:
    try:
        cli(words)
    except SystemExit as ended:
        assert ended.code in (0, 2), words
print("loaded", *sorted(set(sys.modules) - before))
"""
GROUPS = ("db", "projection", "saga", "reaction", "event", "stream")
VERBS = ("dev", "run", "status", "describe", "doctor", "check", "rule", "trace", "stream events", "projection rebuild")


def loaded_by(*lines: str) -> list[str]:
    script = LOADED.format(lines=[line.split() for line in lines])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1:]


def test_help_imports_nothing_of_the_library() -> None:
    loaded = loaded_by(*(f"{words} --help" for words in (*GROUPS, *VERBS)), "statsu", "projection lits")
    library = {name for name in loaded if name.startswith("diptych.") and not name.startswith("diptych.cli")}
    assert library == {"diptych.errors"}
    assert {"asyncio", "fastapi", "apsw", "rich", "diptych.cli.output"}.isdisjoint(loaded)


def test_the_first_help_imports_typer_and_not_even_pydantic() -> None:
    """For the help of a verb typer imports it itself."""
    third_party = {name.split(".")[0] for name in loaded_by("--help", "--version", "")} - sys.stdlib_module_names
    assert {"diptych", "typer"} <= third_party
    assert {"pydantic", "pydantic_core", "rich", "starlette", "sqlglot"}.isdisjoint(third_party)


def test_a_rule_is_told_without_an_app_a_driver_and_a_checker() -> None:
    loaded = loaded_by("rule DP101", "rule")
    assert "diptych.lint.pages" in loaded
    assert {"diptych.app", "diptych.write", "diptych.read", "diptych.lint.checking", "apsw"}.isdisjoint(loaded)


@pytest.mark.parametrize(("typed", "meant"), [("statsu", "status"), ("projection lits", "list"), ("even", "event")])
def test_a_verb_that_is_not_there_is_answered_with_the_one_that_was_meant(typed: str, meant: str) -> None:
    command = [sys.executable, "-m", "diptych.cli", *typed.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"'{meant}'" in done.stderr.partition("Did you mean")[2]


def test_the_version_is_one_line_on_stdout() -> None:
    command = [sys.executable, "-m", "diptych.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    name, _, version = done.stdout.partition(" ")
    assert (name, done.stderr) == ("diptych", "")
    assert version.count(".") == 2
