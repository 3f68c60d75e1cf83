"""`./run demo` as a shell sees it: what it refuses, and what it says at its end."""

import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo.__main__ import options
from examples.demo.lines import COLUMNS

ROOT = Path(__file__).parents[2]


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from examples.demo.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, str(ROOT), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=50)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--seconds", "0"],
        ["--seconds", "nan"],
        ["--seconds", "-3"],
        ["--pause", "-1"],
        ["--players", "0"],
        ["--port", "70000"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_played_is_a_usage_error(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(wrong)
    assert ended.value.code == 2


def test_a_file_that_cannot_be_imported_is_one_whole_sentence_in_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    told = demo(tmp_path, "--database", "memory:", "--import", "other.csv")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.endswith("customer_id, country.\n")


@pytest.mark.slow
def test_what_was_imported_is_found_again_where_it_says(tmp_path: Path) -> None:
    line = "1,2026-01-05T09:00:00,A,Teapot,2,23.50,7,France"
    (tmp_path / "lines.csv").write_text("\n".join([",".join(COLUMNS), line, ""]))
    told = demo(tmp_path, "--database", "sqlite:///my orders.db", "--import", "lines.csv", "--port", "8123")
    assert told.returncode == 0
    assert "--port 8123 --database 'sqlite:///my orders.db'" in told.stdout
    assert "http://127.0.0.1:8123/api/v1/orders/" in told.stdout
    assert (tmp_path / "my orders.db").exists()
    gone = demo(tmp_path, "--database", "memory:", "--import", "lines.csv")
    assert gone.returncode == 0
    assert gone.stdout.endswith("All of it was in memory, and is gone.\n")


@pytest.mark.slow
def test_customers_pay_in_advance_if_they_are_asked_to(tmp_path: Path) -> None:
    told = demo(tmp_path, "--database", "memory:", "--seconds", "2", "--players", "4", "--pay")
    assert told.returncode == 0, told.stderr
    assert "it took money" in told.stdout


@pytest.mark.slow
@pytest.mark.postgres
def test_a_server_of_its_own_and_one_that_is_named_take_the_same(tmp_path: Path, postgres_url: str) -> None:
    for database in ("postgresql", postgres_url):
        told = demo(tmp_path, "--database", database, "--seconds", "1", "--players", "2")
        assert told.returncode == 0, told.stderr
        assert " commands and " in told.stdout
        is_gone = told.stdout.endswith("on a server of the demonstration's own, and is gone.\n")
        assert is_gone == (database == "postgresql")
