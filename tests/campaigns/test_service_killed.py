"""A story: the order service is killed again and again while people order, and nobody can tell afterwards."""

from pathlib import Path
from random import Random

import pytest

from tests.campaigns.service import kill_under_load
from tests.campaigns.stores import sqlite_url

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the service keeps its orders."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "orders.db")
    of_server: str = request.getfixturevalue("postgres_url")
    return of_server


async def test_a_killed_service_loses_and_repeats_nothing(url: str, tmp_path: Path) -> None:
    """X1, L1, C1, P1: kill -9 of the whole process at random times, under load, three times."""
    shoppers = await kill_under_load(url, tmp_path / "log", 3, Random(1))

    assert len(shoppers.orders) > 20
    assert shoppers.repeated > 0
