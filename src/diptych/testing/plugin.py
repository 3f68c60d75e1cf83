"""The pytest plugin: installed with diptych, it switches every app of a test run to development mode.

Rule: nothing is imported here before a test asks for it; every test run of the environment pays for this file.
"""

import os
from typing import Any


def pytest_addoption(parser: Any) -> None:
    """Offer `--diptych-check`."""
    group = parser.getgroup("diptych")
    group.addoption("--diptych-check", action="store_true", help="hold `diptych check` against the project first")


def pytest_configure() -> None:
    """Set DIPTYCH_MODE=development, unless the environment says otherwise: state changed outside `@on` is found."""
    os.environ.setdefault("DIPTYCH_MODE", "development")


def pytest_sessionstart(session: Any) -> None:
    """With `--diptych-check`, end the run before the first test when a rule is broken."""
    if not session.config.getoption("diptych_check"):
        return
    import subprocess
    import sys

    words = [sys.executable, "-m", "diptych.cli", "check", "--format", "concise"]
    done = subprocess.run(words, cwd=session.config.rootpath, capture_output=True, text=True, check=False)
    if done.returncode:
        session.shouldfail = f"diptych check:\n{done.stdout}{done.stderr}".rstrip()
