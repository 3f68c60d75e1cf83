"""How many connections a pool has handed out, and what becomes of them when it closes."""

import asyncio
from pathlib import Path

import apsw
import pytest

from diptych.errors import StoreUnavailableError
from diptych.store.sqlite.connections import ConnectionPool, PooledConnection

pytestmark = pytest.mark.anyio


@pytest.fixture
def pool(tmp_path: Path) -> ConnectionPool:
    path = str(tmp_path / "shop.db")
    apsw.Connection(path).close()
    return ConnectionPool((path,), lambda: PooledConnection(apsw.Connection(path), None), size=2)


async def test_it_counts_what_is_handed_out(pool: ConnectionPool) -> None:
    first, second = await pool.acquire(), await pool.acquire()
    assert pool.in_use == 2
    pool.release(first)
    assert pool.in_use == 1
    assert await pool.acquire() is first
    pool.release(first)
    pool.release(second)
    assert pool.in_use == 0


async def test_a_closed_pool_has_none_and_takes_back_what_was_out(pool: ConnectionPool) -> None:
    idle, out = await pool.acquire(), await pool.acquire()
    pool.release(idle)
    pool.close()
    assert pool.in_use == 1
    with pytest.raises(apsw.ConnectionClosedError):
        idle.connection.execute("SELECT 1")
    assert out.connection.execute("SELECT 1").get == 1
    pool.release(out)
    assert pool.in_use == 0
    with pytest.raises(apsw.ConnectionClosedError):
        out.connection.execute("SELECT 1")
    with pytest.raises(StoreUnavailableError):
        await pool.acquire()


async def test_who_waits_is_served_in_turn_and_does_not_look_again_and_again(
    pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, look = 0, pool.try_acquire

    def counted() -> PooledConnection | None:
        nonlocal looks
        looks += 1
        return look()

    first, second = await pool.acquire(), await pool.acquire()
    monkeypatch.setattr(pool, "try_acquire", counted)
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert looks == 2
    pool.release(second)
    assert await waiting[0] is second
    assert not waiting[1].done()
    pool.release(first)
    assert await waiting[1] is first
    assert pool.in_use == 2


async def test_one_that_was_handed_to_who_is_cancelled_in_the_same_moment_comes_back(pool: ConnectionPool) -> None:
    first, second = await pool.acquire(), await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    pool.release(first)
    await asyncio.sleep(0)  # it is in its hands, and it has not run yet
    waiting.cancel()
    await asyncio.wait((waiting,))
    pool.release(second)
    assert pool.in_use == 0
    assert {await pool.acquire(), await pool.acquire()} == {first, second}


async def test_who_waits_for_what_breaks_opens_another(pool: ConnectionPool) -> None:
    first, second = await pool.acquire(), await pool.acquire()
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    pool.release(first, is_broken=True)
    third = await waiting
    assert third not in (first, second)
    assert pool.in_use == 2
    with pytest.raises(apsw.ConnectionClosedError):
        first.connection.execute("SELECT 1")
