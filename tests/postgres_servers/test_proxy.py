"""The harness: the proxy stalls, cuts, half-opens, loses answers and drops NOTIFY, and otherwise only carries."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from tests.postgres import Server
from tests.postgres_servers.proxy import Proxy, proxied

pytestmark = [pytest.mark.anyio]

_LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


async def connected(proxy: Proxy) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection through the proxy."""
    return await asyncpg.connect(proxy.url().partition("?")[0], timeout=10)


async def is_waiting(work: Awaitable[Any]) -> bool:
    """Whether it has no answer after a moment; it goes on."""
    return not (await asyncio.wait([asyncio.ensure_future(work)], timeout=0.2))[0]


async def test_it_carries_large_answers_and_many_connections(postgres: Server) -> None:
    """What goes in comes out."""
    async with proxied(postgres) as proxy:
        connections = [await connected(proxy) for _ in range(5)]
        answers = await asyncio.gather(*(each.fetchval("SELECT repeat('x', 1000000)") for each in connections))
        for each in connections:
            await each.close()

    assert answers == ["x" * 1_000_000] * 5


async def test_a_stall_holds_everything_and_loses_nothing(postgres: Server) -> None:
    """Old and new connections wait, and go on."""
    async with proxied(postgres) as proxy:
        connection = await connected(proxy)
        proxy.stall()
        asked, opened = asyncio.ensure_future(connection.fetchval("SELECT 1")), asyncio.ensure_future(connected(proxy))
        assert await is_waiting(asked)
        assert await is_waiting(opened)

        proxy.resume()

        assert await asked == 1
        await (await opened).close()
        await connection.close()


@pytest.mark.parametrize("fault", [Proxy.cut, Proxy.stall])
async def test_a_cut_connection_is_lost_and_a_new_one_is_not(
    postgres: Server, fault: Callable[[Proxy], object]
) -> None:
    """A cut is noticed at once, also when nothing flowed."""
    async with proxied(postgres) as proxy:
        connection = await connected(proxy)
        fault(proxy)
        proxy.cut()
        proxy.resume()

        with pytest.raises(_LOST):
            await connection.execute("SELECT 1")
        other = await connected(proxy)
        assert await other.fetchval("SELECT 1") == 1
        await other.close()


async def test_a_half_open_connection_gets_no_word(postgres: Server) -> None:
    """The server lost the session; the client waits, until it gives up by itself."""
    async with proxied(postgres) as proxy:
        connection = await connected(proxy)
        proxy.half_open()

        with pytest.raises(TimeoutError):
            await connection.execute("SELECT 1", timeout=0.2)
        connection.terminate()
        other = await connected(proxy)
        assert await other.fetchval("SELECT 1") == 1
        await other.close()


async def test_it_refuses_new_connections(postgres: Server) -> None:
    """As while a server starts."""
    async with proxied(postgres) as proxy:
        proxy.is_refusing = True
        with pytest.raises(_LOST):
            await connected(proxy)


async def test_a_lost_answer_is_one_whose_statement_took_effect(postgres: Server, postgres_url: str) -> None:
    """The unknown outcome, at will, and only on the connections that said the mark."""
    schema = postgres_url.rpartition("=")[2]
    postgres.query(f"CREATE SCHEMA {schema} CREATE TABLE numbers (number int)")
    async with proxied(postgres, mark=b"INSERT INTO") as proxy:
        writes, reads = await connected(proxy), await connected(proxy)
        proxy.loses_answers = True

        with pytest.raises(_LOST):
            await writes.execute(f"INSERT INTO {schema}.numbers VALUES (1)")

        assert await reads.fetchval(f"SELECT number FROM {schema}.numbers") == 1
        assert proxy.lost == 1
        await reads.close()


async def test_it_drops_notifications_and_nothing_else(postgres: Server) -> None:
    """P6 needs it: the reader hears nothing, and its queries are answered."""
    heard: list[object] = []
    async with proxied(postgres, drops_notifications=True) as proxy:
        listener, notifier = await connected(proxy), await connected(proxy)
        await listener.add_listener("news", lambda *what: heard.append(what))
        for _ in range(3):
            await notifier.execute("NOTIFY news")
        assert await listener.fetchval("SELECT repeat('x', 100000)") == "x" * 100_000
        await listener.close()
        await notifier.close()

    assert heard == []
    assert proxy.dropped == 3
