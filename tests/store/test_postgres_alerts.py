"""The records of alerts on PostgreSQL, several processes at once; what a record is, the contract says."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from diptych.store.alerts import Firing
from diptych.store.postgres.alerts import PostgresAlerts
from diptych.store.postgres.connection import database_of
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.migrations import migrate

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NAMES = [f"shop_{number}" for number in range(8)]
LATE = [Firing(name, "lag", f"{name} is 7 s behind", 7.0) for name in NAMES]


@pytest.fixture
async def pools(postgres_url: str) -> AsyncIterator[list[Connections]]:
    """Four processes on one schema."""
    database, _ = database_of(postgres_url)
    pools = [Connections(database, size=1) for _ in range(4)]
    async with pools[0].connection() as connection:
        await migrate(connection, database, "views")
    yield pools
    assert [pool.in_use for pool in pools] == [0] * len(pools)
    for pool in pools:
        await pool.close()


@pytest.fixture
def alerts(pools: list[Connections]) -> list[PostgresAlerts]:
    return [PostgresAlerts(pool.connection, pool.database.schema) for pool in pools]


async def test_each_change_is_made_once_whatever_the_order_of_what_fires(alerts: list[PostgresAlerts]) -> None:
    """Two that take the same records in another order would wait for each other."""
    later = [one._replace(message=f"{one.projection} is 9 s behind") for one in LATE]
    for firing, change in ((LATE, "raised"), (later, "updated"), ([], "resolved")):
        orders = [firing, firing[::-1], firing, firing[::-1]]
        told = await asyncio.gather(
            *(each.reconcile(order, NAMES, update_after=0) for each, order in zip(alerts, orders, strict=True))
        )
        assert sorted((one.change, one.alert.projection) for changes in told for one in changes) == [
            (change, name) for name in NAMES
        ]
    assert [one.projection for one in await alerts[0].recent(limit=3)] == NAMES[:-4:-1]


async def test_a_look_that_is_cancelled_changes_nothing(alerts: list[PostgresAlerts], pools: list[Connections]) -> None:
    async with pools[1].connection() as holder:
        await holder.execute("BEGIN; LOCK TABLE " + f"{pools[1].database.schema}.alerts IN EXCLUSIVE MODE")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await alerts[0].reconcile(LATE, NAMES, update_after=0)
        await holder.execute("ROLLBACK")
    assert list(await alerts[0].recent()) == []
    assert len(await alerts[2].reconcile(LATE, NAMES, update_after=0)) == len(NAMES)
