"""Connections to PostgreSQL: they come back, in order, whatever happens; and errors are ours."""

import asyncio

import asyncpg
import pytest

from diptych.errors import (
    AccessDeniedError,
    ConfigurationError,
    InvalidInputError,
    ProgrammingError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from diptych.store.postgres.connection import database_of, open_connection
from diptych.store.postgres.connections import Connections
from tests.postgres import Server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
async def pool(postgres_url: str) -> Connections:
    """Two connections."""
    return Connections(database_of(postgres_url)[0], size=2, wait_seconds=0.2)


async def _sessions(server: Server) -> list[str]:
    """What the sessions of this test's server are doing, but for those that do nothing."""
    states = server.query("SELECT state FROM pg_stat_activity WHERE application_name = 'diptych' AND state <> 'idle'")
    return states.splitlines()


async def test_a_connection_comes_back_after_use(pool: Connections) -> None:
    async with pool.connection() as first:
        assert pool.in_use == 1
        assert await first.fetchval("SELECT 1") == 1
    async with pool.connection() as second:
        assert second is first
    assert pool.in_use == 0
    await pool.close()


async def test_who_waits_too_long_for_a_connection_is_told(pool: Connections) -> None:
    async with pool.connection(), pool.connection():
        with pytest.raises(StoreUnavailableError, match="all 2 connections were in use"):
            await pool.acquire()
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await pool.close()


async def test_an_open_transaction_is_rolled_back(pool: Connections) -> None:
    """The next one to use the connection is in none."""
    async with pool.connection() as first:
        await first.execute("BEGIN")
    async with pool.connection(), pool.connection() as second:
        assert not second.is_in_transaction()
    await pool.close()


@pytest.mark.parametrize("pause", [0, 0.001, 0.02])
async def test_a_cancelled_statement_is_stopped_and_leaves_no_transaction(
    postgres_url: str, postgres: Server, pause: float
) -> None:
    """At any await: before the connection is open, while it opens, in the middle of a statement."""
    pool = Connections(database_of(postgres_url)[0], size=2, wait_seconds=10.0)  # stopping takes its time

    async def work() -> None:
        async with pool.connection() as connection:
            await connection.execute("BEGIN")
            await connection.execute("SELECT pg_sleep(30)")

    for _ in range(8):
        working = [asyncio.create_task(work()) for _ in range(2)]
        await asyncio.sleep(pause)
        for each in working:
            each.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        assert pool.in_use == 0
    async with asyncio.timeout(10), pool.connection() as one, pool.connection() as two:
        assert [await each.fetchval("SELECT 1") for each in (one, two)] == [1, 1]
        assert not one.is_in_transaction()
        assert not two.is_in_transaction()
    await pool.close()
    assert await _sessions(postgres) == []


async def test_a_cut_connection_is_replaced(pool: Connections, postgres: Server) -> None:
    async with pool.connection() as connection:
        pid = await connection.fetchval("SELECT pg_backend_pid()")
    postgres.query(f"SELECT pg_terminate_backend({pid})")
    await asyncio.sleep(0.05)
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT pg_backend_pid()") != pid
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        with pytest.raises(StoreUnavailableError):
            async with pool.connection() as other:
                await other.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    await pool.close()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1 FROM nowhere", ProgrammingError),
        ("SELECT 'x'::bigint", InvalidInputError),
        ("SELECT pg_sleep(9)", StoreUnavailableError),
        ("DO $$ BEGIN RAISE insufficient_privilege; END $$", AccessDeniedError),
        ("DO $$ BEGIN RAISE read_only_sql_transaction; END $$", StoreReadOnlyError),
        ("DO $$ BEGIN RAISE admin_shutdown; END $$", StoreUnavailableError),
    ],
)
async def test_errors_of_the_server_are_ours(postgres_url: str, sql: str, expected: type[Exception]) -> None:
    """No driver exception leaves the store; and the connection is fit for the next."""
    pool = Connections(database_of(postgres_url)[0], size=1, settings={"statement_timeout": "50"})
    for _ in range(2):
        with pytest.raises(expected) as raised:
            async with pool.connection() as connection:
                await connection.execute(sql)
        assert isinstance(raised.value.__cause__, asyncpg.PostgresError)
    await pool.close()


async def test_a_closed_pool_refuses_and_closes_what_comes_back(pool: Connections) -> None:
    held = await pool.acquire()
    await pool.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        await pool.acquire()
    pool.release(held)
    assert held.is_closed()


@pytest.mark.parametrize(
    ("url", "expected", "sentence"),
    [
        ("postgresql://localhost:1/shop", StoreUnavailableError, "cannot be reached"),
        ("postgresql://127.0.0.1:9,127.0.0.1:1/shop", StoreUnavailableError, "cannot be reached"),
        ("postgresql://nobody:secret@localhost:x/shop", ConfigurationError, "Use postgresql://"),
    ],
)
async def test_who_cannot_be_reached_is_named(url: str, expected: type[Exception], sentence: str) -> None:
    with pytest.raises(expected, match=sentence) as raised:
        await open_connection(database_of(url)[0], {})
    assert "secret" not in str(raised.value)


async def test_of_several_hosts_the_one_that_answers_is_used(postgres: Server) -> None:
    database = database_of(f"postgresql://postgres@127.0.0.1:1,127.0.0.1:{postgres.port}/postgres")[0]
    connection = await open_connection(database, {})
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_a_database_that_is_not_there_is_a_matter_of_configuration(postgres: Server) -> None:
    database = database_of(f"postgresql://postgres@127.0.0.1:{postgres.port}/nowhere")[0]
    with pytest.raises(ConfigurationError, match="nowhere"):
        await open_connection(database, {})


@pytest.mark.parametrize("schema", ["", "Shop", "pg_shop", "a b", "x" * 49, '"', "1a"])
def test_a_schema_is_a_plain_name(schema: str) -> None:
    """I3"""
    with pytest.raises(ConfigurationError, match="schema"):
        database_of(f"postgresql://db/shop?schema={schema}")


def test_options_are_told_apart() -> None:
    """Ours are left over; the driver's go to the driver; the password is never shown."""
    database, others = database_of("postgres://ada:s%40cret@a:1,b:2/shop?sslmode=require&schema=s1&poll_seconds=1")
    assert database.dsn == "postgresql://ada:s%40cret@a:1,b:2/shop?sslmode=require"
    assert (database.schema, others) == ("s1", "poll_seconds=1")
    assert str(database) == "postgresql://a:1,b:2/shop, schema s1"
    assert "cret" not in repr(database)
