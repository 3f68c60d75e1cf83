"""Outages: whatever happens to the server or to the network, errors are typed and the app resumes by itself."""

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from diptych.errors import StoreUnavailableError
from tests.campaigns.bank import bank
from tests.campaigns.bankers import Bankers
from tests.campaigns.outages import OUTAGES, banking_through, torture_through
from tests.campaigns.stores import store_at
from tests.campaigns.torture import Plan
from tests.postgres import Server, had_or_skipped
from tests.postgres_servers.hindrances import injected_failures, slow_commits
from tests.postgres_servers.proxy import proxied
from tests.postgres_servers.small_disk import SmallDiskServer

pytestmark = [pytest.mark.anyio, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A durable server that the tests may break."""
    with had_or_skipped():
        server = Server(is_durable=True)
    yield server
    server.remove()


@pytest.fixture
def small() -> Iterator[SmallDiskServer]:
    """A server on a small disk."""
    with had_or_skipped():
        server = SmallDiskServer()
    yield server
    server.remove()


async def test_a_store_that_loses_its_server_while_it_opens_says_so(postgres: Server, postgres_url: str) -> None:
    """No error of the driver leaves a store, not even then; later it opens."""
    async with proxied(postgres, mark=b"SELECT store_id") as proxy:
        store = store_at(proxy.url(schema=postgres_url.rpartition("schema=")[2]))
        proxy.loses_answers = True
        with pytest.raises(StoreUnavailableError):
            await store.open()
        proxy.resume()
        await store.open()
        await store.close()

    assert proxy.lost == 1


@pytest.mark.parametrize("outage", OUTAGES)
async def test_the_app_resumes_by_itself(server: Server, outage: str) -> None:
    """L1, C1, P1, X1: twice the same outage under load; nobody but the clients sends anything again."""
    await banking_through(server, f"bank_{outage.replace(' ', '_')}", [outage, outage], Random(1))


async def test_the_history_of_a_store_over_all_outages_is_true(server: Server) -> None:
    """L1 to L8, C1: whoever was told that nothing was stored was told the truth."""
    await torture_through(server, "torture", list(OUTAGES), Plan(0.5, clients=16, seed=6, outages=True))


async def test_failures_of_single_transactions_are_gone_through(postgres: Server, postgres_url: str) -> None:
    """C1, P1, P2: serialization failures, deadlocks and slow commits of appends and of projections alike."""
    schema = postgres_url.rpartition("schema=")[2]
    async with bank(postgres_url):
        pass
    for table, share in ("events", 0.1), ("projection_checkpoints", 0.02):  # a checkpoint is a row for each of 16 lanes
        slow_commits(postgres, schema, table, share=2 * share)
        injected_failures(postgres, schema, table, share=share)
    async with bank(postgres_url) as app:
        bankers = Bankers(app, 8)
        async with asyncio.TaskGroup() as group:
            group.create_task(bankers.work())
            await bankers.has_more(200)
            bankers.is_over = True
        await bankers.check()


async def test_a_full_disk_refuses_and_with_space_the_app_resumes(small: SmallDiskServer) -> None:
    """X2: a typed error, nothing half-done, and no restart."""
    async with bank(small.url()) as app:
        bankers = Bankers(app, 8)
        async with asyncio.TaskGroup() as group:
            group.create_task(bankers.work())
            await bankers.has_more(20)
            await asyncio.to_thread(small.fill)
            async with asyncio.timeout(40):
                while not bankers.errors["StoreFullError"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            small.free()
            await bankers.has_more(20)
            bankers.is_over = True
        await bankers.check()

    assert small.is_running
