"""What a start of the command line costs: only what the verb that was typed needs is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOADED = """
import sys
from pathlib import Path
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


@pytest.mark.parametrize(
    ("typed", "offered"), [("proj", "projection"), ("projection reb", "rebuild"), ("event search --ty", "--type")]
)
def test_the_shell_completes_verbs_and_options(typed: str, offered: str) -> None:
    words = f"diptych {typed}"
    asked = {"_DIPTYCH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    script = "import sys; sys.argv = ['diptych']; from diptych.cli.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [offered]


@pytest.mark.parametrize("module", ["diptych", "diptych.cli"])
def test_the_version_is_one_line_on_stdout(module: str) -> None:
    command = [sys.executable, "-m", module, "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    name, _, version = done.stdout.partition(" ")
    assert (name, done.stderr) == ("diptych", "")
    assert version.count(".") == 2


def test_ctrl_c_while_it_is_still_importing_is_no_stack_trace() -> None:
    script = """
import sys
from pathlib import Path

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
from diptych.cli.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_reader_that_goes_away_ends_it_without_a_word() -> None:
    command = [sys.executable, "-m", "diptych.cli", "rule"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as told:
        assert told.stdout is not None
        assert told.stderr is not None
        told.stdout.close()
        said = told.stderr.read()
    assert (told.returncode, said) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only some systems have a full device")
def test_output_that_cannot_be_written_is_one_sentence() -> None:
    command = [sys.executable, "-m", "diptych.cli", "rule"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "diptych: [Errno 28] No space left on device. Mend that, and type the same again.\n"


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "diptych-baseline.toml").mkdir()
    command = [sys.executable, "-m", "diptych.cli", "check", "--baseline", "write"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "diptych-baseline.toml: Is a directory. Mend that" in done.stderr
