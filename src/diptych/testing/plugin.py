"""The pytest plugin: installed with diptych, it switches every app of a test run to development mode.

Rule: nothing is imported here before a test asks for it; every test run of the environment pays for this file.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest


def pytest_configure() -> None:
    """Set DIPTYCH_MODE=development, unless the environment says otherwise: state changed outside `@on` is found."""
    os.environ.setdefault("DIPTYCH_MODE", "development")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what golden files need."""
    group = parser.getgroup("diptych")
    group.addoption(
        "--diptych-golden-update", action="store_true", help="write the golden files of events as they are stored now"
    )


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
