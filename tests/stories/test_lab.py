"""The lab: what it prints is typed as it stands, and mends what is broken."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).parents[2]
TYPE_IT = "Type these in another terminal"


@contextmanager
def lab(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A lab in a folder, killed at the end if it is still there."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from examples.demo.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, str(ROOT), "--limit", "1", "--players", "6", *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def typed(command: str, folder: Path) -> tuple[int, str]:
    """Type a command into a shell."""
    ran = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, check=False, timeout=50)
    return ran.returncode, ran.stdout + ran.stderr


def mended(said: IO[str], folder: Path) -> list[str]:
    """Read what a lab says, and type what it prints; returns everything it said, and what was answered."""
    told: list[str] = []
    part, commands = "", {"look": list[str](), "mend": list[str]()}
    for line in said:
        told.append(line)
        if line.strip() in commands:
            part = line.strip()
        elif line.startswith("  $ ") and part:
            commands[part].append(line[4:].strip())
        elif line.startswith(TYPE_IT):
            for command in commands["look"]:
                code, answer = typed(command, folder)
                assert code in {0, 1}, f"{command}\n{answer}"
                assert "parcels" in answer
                told.append(answer)
            for command in commands["mend"]:
                code, answer = typed(command, folder)
                assert code == 0, f"{command}\n{answer}"
                told.append(answer)
            assert commands["mend"]
            part, commands = "", {"look": [], "mend": []}
    return told


EXPECTED = {
    "poison": ["no box holds 13 pieces", "2 events are applied."],
    "lag": ["and it is paused", "parcels goes on.", "it will never catch up at this rate"],
    "duplicate-worker": ["lanes 8 + 8", "has 8 lanes again"],
    "code-change": ["answer.reason='frozen'", "Back again: diptych projection rollback parcels", "is accepted."],
}


def plays(name: str, folder: Path, *arguments: str) -> None:
    """Assert that a lab is mended by what it prints."""
    with lab(folder, "--break", name, *arguments) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        told = "".join(mended(running.stdout, folder))
        errors = running.stderr.read()
        assert running.wait(timeout=10) == 0, told + errors
    assert [words for words in EXPECTED[name] if words not in told] == []
    assert "no findings" in errors
    assert told.splitlines()[-1].startswith("All is well.")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", EXPECTED)
def test_what_a_lab_prints_mends_what_it_broke(name: str, tmp_path: Path) -> None:
    """P5, P7 and P3, as somebody sees them who types."""
    plays(name, tmp_path)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(180)
def test_a_lab_on_a_server_is_mended_likewise(tmp_path: Path, postgres_url: str) -> None:
    plays("duplicate-worker", tmp_path, "--database", postgres_url)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_lab_mends_itself_when_it_is_told_to(tmp_path: Path) -> None:
    with lab(tmp_path, "--break", "poison", "--auto") as running:
        told, errors = running.communicate(timeout=100)
        assert running.returncode == 0, told + errors
    assert TYPE_IT not in told
    assert "2 events are applied." in told


@pytest.mark.slow
def test_a_lab_that_is_interrupted_ends_in_good_order(tmp_path: Path) -> None:
    with lab(tmp_path, "--break", "poison") as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith(TYPE_IT):
                running.send_signal(signal.SIGINT)
                break
        told, errors = running.communicate(timeout=30)
    assert (running.returncode, errors) == (130, "")
    assert "Ended. What was broken stays so" in told


def test_a_lab_in_memory_is_refused(tmp_path: Path) -> None:
    with lab(tmp_path, "--break", "poison", "--database", "memory:") as running:
        told, errors = running.communicate(timeout=30)
        assert (running.returncode, told) == (2, "")
    assert errors == "Commands cannot see what is in memory. Name a file or a server, or leave it out.\n"
