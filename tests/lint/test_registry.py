"""An app is imported in a process of its own: whatever it does there, the check goes on and nothing is left behind."""

import os
import time
from pathlib import Path

import pytest

from diptych.lint.facts import Facts, Fault
from diptych.lint.registry import inspect

APP = 'from diptych import App\n\napp = App("sqlite:///orders.db")\n'
DEADLINE = 10.0


def look(folder: Path, text: str, *, limit: float = 20.0) -> Facts | Fault:
    (folder / "app.py").write_text(text)
    return inspect(None, folder, limit=limit)


def is_gone(pid: int) -> bool:
    """Whether a process ends within the deadline; one that waits to be reaped has ended."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        os.sched_yield()
    return False


def test_an_app_is_read_and_no_file_is_made(tmp_path: Path) -> None:
    facts = look(tmp_path, APP)
    assert isinstance(facts, Facts)
    assert facts.at[:3] == ("app.py", 1, "app")
    assert facts.files == ("app.py",)
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]


def test_what_an_app_prints_disturbs_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    noise = 'import os, sys\nprint("{}")\nsys.stderr.write("x" * 100_000)\nos.write(1, b"[1]")\n'
    assert isinstance(look(tmp_path, noise + APP), Facts)
    assert capfd.readouterr() == ("", "")


def test_an_app_that_raises_is_told_of_with_its_line(tmp_path: Path) -> None:
    found = look(tmp_path, APP + 'raise KeyError("DATABASE")\n')
    assert found == Fault("app.py:4: KeyError: 'DATABASE'")


def test_an_app_that_is_no_python_is_told_of(tmp_path: Path) -> None:
    found = look(tmp_path, APP + "def\n")
    assert isinstance(found, Fault)
    assert found.message.startswith("app.py:4: SyntaxError")


def test_an_app_that_exits_is_told_of(tmp_path: Path) -> None:
    assert look(tmp_path, APP + "import sys\nsys.exit(3)\n") == Fault("app.py:5: SystemExit: 3")


def test_an_app_that_ends_its_process_is_told_of(tmp_path: Path) -> None:
    found = look(tmp_path, APP + "import os\nos._exit(3)\n")
    assert isinstance(found, Fault)
    assert "ended with 3" in found.message


def test_an_app_that_hangs_is_given_up_with_its_children(tmp_path: Path) -> None:
    hanging = (
        "import pathlib, subprocess, sys, threading\n"
        'child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])\n'
        'pathlib.Path("pid").write_text(str(child.pid))\n'
        "threading.Event().wait()\n"
    )
    found = look(tmp_path, hanging, limit=3.0)
    assert isinstance(found, Fault)
    assert "within 3 s" in found.message
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_an_app_that_forks_tells_once_and_its_child_is_gone(tmp_path: Path) -> None:
    forking = (
        "import os, pathlib, threading\n"
        "if (pid := os.fork()) == 0:\n"
        "    threading.Event().wait()\n"
        'pathlib.Path("pid").write_text(str(pid))\n'
    )
    assert isinstance(look(tmp_path, forking + APP), Facts)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_child_that_goes_on_importing_tells_nothing(tmp_path: Path) -> None:
    assert isinstance(look(tmp_path, "import os\nif os.fork():\n    os.wait()\n" + APP), Facts)


def test_a_folder_without_an_app_is_no_mistake(tmp_path: Path) -> None:
    found = inspect(None, tmp_path)
    assert isinstance(found, Fault)
    assert found.is_absent


def test_an_app_that_is_named_and_not_there_is_one(tmp_path: Path) -> None:
    found = inspect("shop/main.py", tmp_path)
    assert isinstance(found, Fault)
    assert not found.is_absent
    assert "There is no file shop/main.py" in found.message
