"""An app that is asked how it is wired: in a process of its own, whatever importing it does."""

import sys
import time
from pathlib import Path

import pytest

from diptych.lint.facts import Facts
from diptych.lint.registry import Fault, ask

APP = "from diptych import App\napp = App('memory:')\n"


def asked(tmp_path: Path, code: str, seconds: float = 10.0) -> Facts | Fault:
    (tmp_path / "shop.py").write_text(code)
    return ask([sys.executable, "-B", "-m", "diptych.cli.inspecting", "shop.py"], tmp_path, seconds)


def fault(tmp_path: Path, code: str, seconds: float = 10.0) -> str:
    found = asked(tmp_path, code, seconds)
    assert isinstance(found, Fault)
    return found.sentence


def test_what_it_prints_disturbs_nobody(tmp_path: Path) -> None:
    found = asked(tmp_path, f"import sys\nprint('{{')\nprint('hello', file=sys.stderr)\n{APP}")
    assert isinstance(found, Facts)
    assert found.problems == ()


def test_nothing_is_opened(tmp_path: Path) -> None:
    assert isinstance(asked(tmp_path, "from diptych import App\napp = App('sqlite:///shop.db')\n"), Facts)
    assert [path.name for path in tmp_path.iterdir()] == ["shop.py"]


def test_an_import_that_fails_is_told_with_its_line(tmp_path: Path) -> None:
    assert fault(tmp_path, f"{APP}x = 1 / 0\n") == "shop.py:3: ZeroDivisionError: division by zero"


@pytest.mark.parametrize("ending", ["import sys; sys.exit(3)", "raise SystemExit"])
def test_an_import_that_ends_the_process_is_told(tmp_path: Path, ending: str) -> None:
    assert "SystemExit" in fault(tmp_path, f"{ending}\n")


def test_an_import_that_kills_the_process_is_told(tmp_path: Path) -> None:
    assert fault(tmp_path, "import os; os._exit(7)\n") == "its process ended with code 7 and said nothing."


def test_a_module_without_an_app_is_told(tmp_path: Path) -> None:
    assert "App" in fault(tmp_path, "x = 1\n")


def test_an_import_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    code = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3); open({str(child)!r}, 'w')"])
time.sleep(60)
"""
    assert fault(tmp_path, code, 1.5).startswith("importing it took longer than 1.5 s.")
    time.sleep(2.5)  # it is not there only because its process was ended
    assert not child.exists()


def test_a_child_that_lives_on_keeps_nobody_waiting(tmp_path: Path) -> None:
    code = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n{APP}"
    assert isinstance(asked(tmp_path, code), Facts)


def test_an_app_that_forks_tells_once(tmp_path: Path) -> None:
    assert isinstance(asked(tmp_path, f"import os\nif os.fork():\n    os.wait()\n{APP}"), Facts)


def test_a_child_that_it_leaves_behind_does_not_hold_it_up(tmp_path: Path) -> None:
    forking = "import os, threading\nif os.fork() == 0:\n    threading.Event().wait()\n"
    assert isinstance(asked(tmp_path, f"{forking}{APP}"), Facts)


def test_an_app_that_ends_its_process_is_told_of(tmp_path: Path) -> None:
    assert "ended with code 3" in fault(tmp_path, f"import os\n{APP}os._exit(3)\n")
