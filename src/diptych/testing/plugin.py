"""The pytest plugin: installed with diptych, it switches every app of a test run to development mode.

Rule: nothing is imported here before a test asks for it; every test run of the environment pays for this file.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer what the rules and golden files need."""
    group = parser.getgroup("diptych")
    group.addoption("--diptych-check", action="store_true", help="hold `diptych check` against the project first")
    group.addoption(
        "--diptych-golden-update", action="store_true", help="write the golden files of events as they are stored now"
    )


def pytest_configure() -> None:
    """Set DIPTYCH_MODE=development, unless the environment says otherwise: state changed outside `@on` is found."""
    os.environ.setdefault("DIPTYCH_MODE", "development")


def pytest_sessionstart(session: pytest.Session) -> None:
    """With `--diptych-check`, end the run before the first test when a rule is broken."""
    if not session.config.getoption("diptych_check"):
        return
    import subprocess
    import sys

    words = [sys.executable, "-m", "diptych.cli", "check", "--format", "concise"]
    done = subprocess.run(words, cwd=session.config.rootpath, capture_output=True, text=True, check=False)
    if done.returncode:
        session.shouldfail = f"diptych check:\n{done.stdout}{done.stderr}".rstrip()


@pytest.fixture
def scenario() -> Iterator[Any]:
    """Make scenarios (`diptych.testing.scenario.Scenarios`): `scenario(Order, app)`. A `when` must have its `then`."""
    from diptych.testing.scenario import Scenarios

    scenarios = Scenarios()
    yield scenarios
    scenarios.end()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Any:
    """Hold samples of events against files in `golden/` beside the test (`diptych.testing.golden.Golden`)."""
    from diptych.testing.golden import Golden

    return Golden(request.path.parent / "golden", is_updated=request.config.getoption("--diptych-golden-update"))
