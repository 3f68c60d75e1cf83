"""P3, P9: a service is rebuilt while people use it, the rebuild killed again and again, and nobody can tell."""

from pathlib import Path
from random import Random

import pytest

from tests.campaigns.rebuild import rebuild_under_load
from tests.campaigns.stores import sqlite_url

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the service keeps its baskets."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "baskets.db")
    of_server: str = request.getfixturevalue("postgres_url")
    return of_server


async def test_a_rebuild_that_is_killed_under_load_goes_on_and_is_right(url: str) -> None:
    """P3, P9; no query fails."""
    done = await rebuild_under_load(url, 3, Random(11), before=1200)
    assert all(each.commands and each.queries for each in done)
    assert sum(each.kills for each in done) > 0
