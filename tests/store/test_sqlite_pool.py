"""How many connections a pool has handed out, and what becomes of them when it closes."""

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
