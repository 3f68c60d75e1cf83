"""Torture on PostgreSQL: slow commits, injected serialization failures and deadlocks, cancelled tasks, processes."""

import asyncio
from pathlib import Path

import pytest

from tests.campaigns.stores import hindered, store_at
from tests.campaigns.torture import Plan, assert_true, torture, torture_processes
from tests.postgres import Server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.mark.parametrize("clients", [8, 64])
async def test_one_process_tells_its_clients_the_truth(postgres: Server, postgres_url: str, clients: int) -> None:
    """L1 to L8, C1."""
    await hindered(postgres, postgres_url, _schema(postgres_url))
    before = _sessions(postgres)  # other tests' pooler keeps some of these

    history = await torture(store_at(postgres_url), Plan(3, clients, seed=clients))

    assert_true(history)
    assert sum(operation.outcome == "stored" for operation in history.operations) > 30
    await _none_is_left(postgres, before)


async def test_four_processes_tell_their_clients_the_truth(postgres: Server, postgres_url: str, tmp_path: Path) -> None:
    """L1 to L8, C1 among processes that write at once, while this one reads as fast as it can."""
    await hindered(postgres, postgres_url, _schema(postgres_url))

    history = await torture_processes(postgres_url, tmp_path, 4, Plan(3, clients=16))

    assert_true(history)
    assert {operation.client.split(".")[0] for operation in history.operations} == {"1", "2", "3", "4"}


def _schema(url: str) -> str:
    return url.rpartition("schema=")[2]


async def _none_is_left(server: Server, before: set[str]) -> None:
    """What was cancelled, or failed, left no connection and no transaction; the server takes a moment to see it."""
    async with asyncio.timeout(10):
        while _sessions(server) - before:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def _sessions(server: Server) -> set[str]:
    found = server.query(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'diptych' AND backend_type = 'client backend'"
    )
    return set(found.split())
