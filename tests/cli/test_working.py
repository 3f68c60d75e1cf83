"""`diptych run --only`: what is refused, and what needs no FastAPI."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_verbs import SHOP, diptych, environment

pytestmark = pytest.mark.timeout(90)

_WEB = ("from fastapi import FastAPI\n", "from diptych.web import install\n", "api = FastAPI()\ninstall(app, api)\n")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The folder of a shop that has no FastAPI object."""
    text = SHOP[: SHOP.index('@api.get("/mode")')]
    for line in _WEB:
        text = text.replace(line, "")
    (tmp_path / "bare.py").write_text(text)
    return tmp_path


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_needs_no_fastapi_and_ends_well_when_told_to(bare: Path, signal_: signal.Signals) -> None:
    command = [sys.executable, "-m", "diptych.cli", "run", "bare.py", "--only", "workers"]
    with subprocess.Popen(command, cwd=bare, env=environment(), stderr=subprocess.PIPE, text=True) as working:
        assert working.stderr is not None
        said = working.stderr.readline()
        working.send_signal(signal_)
        rest = working.communicate(timeout=30)[1]
    assert said == "bare works on the projections of sqlite:///shop.db\n"
    assert (working.returncode, rest) == (0, "")


def test_a_worker_may_have_sagas_and_reactions_alone(bare: Path) -> None:
    """It was refused: there was nothing to work on."""
    text = (bare / "bare.py").read_text().replace("app.project(Sales)", "")
    text += """
@app.reaction
async def note(event: Sold) -> None: ...
"""
    (bare / "bare.py").write_text(text)
    command = [sys.executable, "-m", "diptych.cli", "run", "bare.py", "--only", "workers"]
    with subprocess.Popen(command, cwd=bare, env=environment(), stderr=subprocess.PIPE, text=True) as working:
        assert working.stderr is not None
        assert working.stderr.readline() == "bare works on the projections of sqlite:///shop.db\n"
        working.terminate()
        working.communicate(timeout=30)


def test_an_app_without_asynchronous_projections_has_nothing_to_work_on(bare: Path) -> None:
    (bare / "bare.py").write_text((bare / "bare.py").read_text().replace("app.project(Sales)", ""))
    told = diptych(bare, "run", "bare.py", "--only", "workers")
    assert told.returncode == 2
    assert "no asynchronous projection" in told.stderr


@pytest.mark.parametrize("half", ["web", "workers"])
def test_a_store_in_memory_has_no_halves(tmp_path: Path, half: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP.replace("sqlite:///shop.db", "memory:"))
    told = diptych(tmp_path, "run", "shop.py", "--only", half)
    assert told.returncode == 2
    assert "memory: is of one process" in told.stderr


def test_several_processes_do_not_serve_a_store_that_each_would_have_alone(tmp_path: Path) -> None:
    """They did: what one had stored the next did not know."""
    (tmp_path / "shop.py").write_text(SHOP.replace("sqlite:///shop.db", "memory:"))
    told = diptych(tmp_path, "run", "shop.py", "--workers", "2")
    assert told.returncode == 2
    assert "memory: is of one process, and --workers is for several." in told.stderr


def test_several_workers_that_cannot_start_are_not_started_again(bare: Path) -> None:
    (bare / "shop.db").write_text("this is no database")
    told = diptych(bare, "run", "bare.py", "--only", "workers", "--workers", "2")
    assert told.returncode == 2
    assert "shop.db is damaged or not a database" in told.stderr
    assert "another is started" not in told.stderr
