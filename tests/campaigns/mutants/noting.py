"""A plugin of pytest that tells coverage which test runs, and the report what its name is."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Have lines noted under the test's name, if anybody notes lines."""
    coverage = _coverage()
    if coverage is not None:
        coverage.switch_context(item.nodeid)
    item.user_properties.append(("node", item.nodeid))
    return (yield)


def _coverage() -> Any:
    try:
        from coverage import Coverage
    except ImportError:
        return None
    return Coverage.current()
