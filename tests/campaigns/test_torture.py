"""Torture: many clients, hot streams, cancelled tasks, repeated commands; every history is judged as a whole."""

from pathlib import Path

import pytest

from tests.campaigns.history import violations
from tests.campaigns.naive import NaiveStore
from tests.campaigns.stores import memory_store, sqlite_store, sqlite_url
from tests.campaigns.torture import Plan, assert_true, torture, torture_processes

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.mark.parametrize("clients", [8, 64])
async def test_one_process_tells_its_clients_the_truth(tmp_path: Path, clients: int) -> None:
    """L1 to L8, C1 on SQLite."""
    assert_true(await torture(sqlite_store(tmp_path / "shop.db"), Plan(3, clients, seed=clients)))


async def test_memory_tells_its_clients_the_truth() -> None:
    """L1 to L8, C1: the store for tests is a peer of the real ones."""
    assert_true(await torture(memory_store(), Plan(2, 32, seed=3)))


async def test_a_naive_store_does_not_survive() -> None:
    """L5: the torture catches a store that commits positions out of order."""
    broken = violations(await torture(NaiveStore(), Plan(0.5, 32, seed=4)))

    assert "L5" in {violation.invariant for violation in broken}


async def test_three_processes_on_one_file_tell_their_clients_the_truth(tmp_path: Path) -> None:
    """L1 to L8, C1 among processes that queue on the lock file, while this one reads as fast as it can."""
    history = await torture_processes(sqlite_url(tmp_path / "shop.db"), tmp_path, 3, Plan(3, clients=8))

    assert_true(history)
    assert {operation.client.split(".")[0] for operation in history.operations} == {"1", "2", "3"}
