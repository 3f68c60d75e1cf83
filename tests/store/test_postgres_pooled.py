"""Behind PgBouncer: what neighbours left in a session changes nothing, and nothing of ours is left in one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from diptych.errors import AccessDeniedError, ConfigurationError, StoreUnavailableError
from diptych.store.copying import copy
from diptych.store.postgres import pooled
from diptych.store.postgres.connection import Connection, database_of, open_connection
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.events import PostgresEventStore
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.protocols import Append, StoreSettings, StreamWrite
from diptych.store.upgrading import pending, upgrade
from diptych.stream import ANY
from diptych.testing.contracts.events_inline import Counting
from diptych.testing.contracts.events_samples import event, everything, key, record, stream, to
from diptych.testing.contracts.view_rows import TALLIES, TALLY
from tests.postgres import Server, had_or_skipped
from tests.postgres_servers.bouncer import Bouncer

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

LEFT_BEHIND = (
    "SET synchronous_commit = off; SET default_transaction_isolation = 'serializable'; SET lock_timeout = 1;"
    "SET search_path = pg_catalog; SET idle_in_transaction_session_timeout = 1; SET statement_timeout = 1"
)
OURS = ("synchronous_commit", "transaction_isolation", "statement_timeout", "lock_timeout", "plan_cache_mode")


@pytest.fixture
async def owner(postgres_url: str) -> AsyncIterator[Connection]:
    """A session of the server itself."""
    connection = await open_connection(database_of(postgres_url)[0], {"application_name": "psql"})
    yield connection
    await connection.close()


@pytest.fixture
def narrow_url(postgres: Server, postgres_url: str) -> Iterator[str]:
    """The same schema behind a bouncer that has one session for everybody."""
    with had_or_skipped():
        bouncer = Bouncer(postgres, connections=1)
    yield bouncer.url(schema=postgres_url.rpartition("schema=")[2])
    bouncer.remove()


async def _neighbour(url: str, sql: str, ask: str | None = None) -> list[Any]:
    """Run SQL as somebody does who knows nothing of us, and ask something."""
    connection = await asyncpg.connect(url.partition("?")[0], statement_cache_size=0)
    try:
        await connection.execute(sql)
        return [] if ask is None else [row[0] for row in await connection.fetch(ask)]
    finally:
        await connection.close()


async def test_what_neighbours_left_in_a_session_changes_nothing(narrow_url: str, owner: Connection) -> None:
    """L1, L5: the append itself says under which settings it runs, and reads and rows work as ever."""
    schema = database_of(narrow_url)[0].schema
    store = PostgresEventStore(database_of(narrow_url)[0], StoreSettings(lock_timeout=3))
    await store.open()
    seen = f"FOREACH name IN ARRAY ARRAY{list(OURS)} LOOP INSERT INTO {schema}.seen VALUES "
    await owner.execute(
        f"CREATE TABLE {schema}.seen (name text, value text);"
        f"CREATE FUNCTION {schema}.look() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE name text; BEGIN "
        f"{seen} (name, current_setting(name)); END LOOP; RETURN NEW; END $$;"
        f"CREATE TRIGGER look BEFORE INSERT ON {schema}.events FOR EACH ROW EXECUTE FUNCTION {schema}.look();"
    )
    await _neighbour(narrow_url, LEFT_BEHIND)
    await store.append(to(stream(), event()))
    found = dict(map(tuple, await owner.fetch(f"SELECT name, value FROM {schema}.seen")))
    assert found == dict(zip(OURS, ("on", "read committed", "0", "3s", "force_generic_plan"), strict=True))
    assert len(await everything(store)) == 1
    await store.close()


async def test_nothing_of_ours_is_left_in_a_session(narrow_url: str) -> None:
    """Neither settings nor statements, after appends with rows, reads and hand-written SQL."""
    database = database_of(narrow_url)[0]
    settings = "SELECT name || '=' || setting FROM pg_settings WHERE source = 'session' ORDER BY name"
    before = await _neighbour(narrow_url, "SELECT 1", settings)
    store = PostgresEventStore(database)
    await store.open()
    await store.inline.open([TALLIES], store_id=store.store_id)
    await store.append(to(stream(), event())._replace(inline=[Counting()]))
    async with store.inline.reader() as session:
        assert await session.fetch("SELECT total FROM tally", {}) != []
    await everything(store)
    await store.close()
    after = set(await _neighbour(narrow_url, "SELECT 1", settings)) - set(before)
    # The one asyncpg puts back when it has asked what a type is, the other PgBouncer changes as it needs it.
    assert after <= {"jit=on", "application_name=diptych"}
    assert await _neighbour(narrow_url, "SELECT 1", "SELECT name FROM pg_prepared_statements WHERE name <> ''") == []


async def test_a_server_without_a_free_session_is_a_typed_error(
    narrow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X2: bounded, and well again by itself."""
    monkeypatch.setattr(pooled, "LENT_SECONDS", 0.3)
    pool = Connections(database_of(narrow_url)[0], size=2)
    async with pool.connection() as busy:
        await busy.execute("BEGIN")
        with pytest.raises(StoreUnavailableError, match=r"PgBouncer lent no session for 0.3 s.*default_pool_size"):
            async with pool.connection() as other:
                await other.fetchval("SELECT 1")
    async with pool.connection() as one, pool.connection() as two:
        assert [await each.fetchval("SELECT 1") for each in (one, two)] == [1, 1]
    await pool.close()


async def test_a_statement_alone_is_a_transaction(pooled_url: str) -> None:
    """Done or undone as a whole, whatever fails, and never left open."""
    connection = await open_connection(database_of(pooled_url)[0], {"statement_timeout": "100"})
    place = database_of(pooled_url)[0].schema
    await connection.execute(f"CREATE SCHEMA {place}; CREATE TABLE {place}.numbers (n int UNIQUE DEFERRABLE)")
    assert await connection.execute(f"INSERT INTO {place}.numbers VALUES ($1)", 1) == "INSERT 0 1"
    for failing in ("SELECT 1 / 0", f"INSERT INTO {place}.numbers VALUES (2), (1)", "SELECT pg_sleep(9)"):
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute(failing)
        with pytest.raises(asyncpg.PostgresError):
            await connection.fetch(failing)
        assert not connection.is_in_transaction()
    assert await connection.fetchval(f"SELECT array_agg(n) FROM {place}.numbers") == [1]
    await connection.close()


async def test_a_reading_role_holds_in_every_transaction(pooled_url: str, owner: Connection) -> None:
    """R4: the role goes with the transaction, and comes with the next."""
    database = database_of(pooled_url)[0]
    role = f"pooled_reader_of_{database.schema}"
    await owner.execute(f"CREATE ROLE {role}")
    store = PostgresEventStore(database, StoreSettings(reader=role))
    views = PostgresViewStore(database, StoreSettings(reader=role), inline=store.inline)
    try:
        await store.open()
        await views.open([TALLIES], store_id=store.store_id)
        assert views._readers is not None
        for sql in (f"SELECT * FROM {database.schema}.events", f"DELETE FROM {database.schema}.tally"):
            for _ in range(2):
                with pytest.raises(AccessDeniedError):
                    async with views._readers.pool.connection() as connection:
                        await connection.execute(sql)
        async with views.reader() as session:
            assert await session.get(TALLY, ("a",)) is None
    finally:
        await views.close()
        await store.close()
        await owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_many_stores_open_append_and_answer_repetitions(pooled_url: str) -> None:
    """L2, C1: the first to come makes the schema; a command that all of them send takes effect once."""
    stores = [PostgresEventStore(database_of(pooled_url)[0]) for _ in range(5)]
    await asyncio.gather(*[store.open() for store in stores])
    name = record(key())
    once = Append([StreamWrite(stream(), ANY, [event()])], command=name)
    appending = [store.append(to(stream(), event())) for store in stores for _ in range(10)]
    sent = [store.append(once) for store in stores]
    outcomes = await asyncio.gather(*appending, *sent, return_exceptions=True)
    assert len([each for each in outcomes[-5:] if not isinstance(each, BaseException)]) == 1
    assert [each.position for each in await everything(stores[0])] == list(range(1, 52))
    for store in stores:
        found = await store.find_command(name.key)
        assert found is not None
        await store.close()


async def test_pgbouncer_without_the_option_is_recognised(pooled_url: str) -> None:
    with pytest.raises(ConfigurationError, match="Add pgbouncer=true to the URL"):
        await open_connection(database_of(pooled_url.replace("&pgbouncer=true", ""))[0], {"lock_timeout": "1"})
    with pytest.raises(ConfigurationError, match="it is true or false"):
        database_of(pooled_url.replace("=true", "=perhaps"))


async def test_a_copy_wants_the_server_itself(pooled_url: str) -> None:
    with pytest.raises(ConfigurationError, match="Name the server itself, without pgbouncer=true"):
        await copy("sqlite:///shop.db", pooled_url, [], lambda *_: None)


async def test_an_upgrade_works(pooled_url: str) -> None:
    done = await upgrade(pooled_url, [TALLIES])
    assert [(step.part, step.found) for step in done.steps] == [("events", 0), ("views", 0)]
    assert [step.found == step.known for step in await pending(pooled_url)] == [True, True]
