"""A server that takes what is sent and never answers: everybody is told in time, and all is well when it speaks again.

The proxy acknowledges every byte, so that TCP notices nothing.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from diptych.errors import StoreUnavailableError, UnknownOutcomeError
from diptych.store.batches import RowChanges
from diptych.store.postgres import connection, events, views
from diptych.store.postgres.connection import Connection, database_of, open_connection
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.events import PostgresEventStore
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.protocols import Append, Appended, CommandKeyTaken, StoreSettings, StreamWrite
from diptych.stream import ANY
from diptych.testing.contracts.events_inline import Counting
from diptych.testing.contracts.events_samples import event, everything, key, record, stream, to
from diptych.testing.contracts.view_rows import TALLIES, TALLY, Tally, batch
from tests.postgres import Server
from tests.postgres_servers.proxy import Proxy, proxied
from tests.store.test_postgres_trouble import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

HURRIED = StoreSettings(lock_timeout=0.3, answer_timeout=0.3)


@pytest.fixture
async def proxy(postgres: Server) -> AsyncIterator[Proxy]:
    """What lies between."""
    async with proxied(postgres) as proxy:
        yield proxy


@pytest.fixture
async def owner(postgres_url: str) -> AsyncIterator[Connection]:
    """A session that goes round the proxy."""
    database = database_of(postgres_url)[0]
    session = await open_connection(database, {"search_path": database.schema, "application_name": "psql"})
    yield session
    await session.close()


@pytest.fixture
async def store(proxy: Proxy, owner: Connection, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresEventStore]:
    """An open store that waits 0.6 s for an answer."""
    monkeypatch.setattr(events, "_QUERY_SECONDS", 0.3)
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)
    schema = await owner.fetchval("SHOW search_path")
    store = PostgresEventStore(database_of(proxy.url(schema=schema, options="&sslmode=disable"))[0], HURRIED)
    await store.open()
    yield store
    proxy.resume()
    await store.close()


async def _insist(store: PostgresEventStore, append: Append) -> Appended | CommandKeyTaken:
    """Send it until somebody knows what became of it, within 20 seconds."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await store.append(append)
            except CommandKeyTaken as taken:
                return taken
            except (StoreUnavailableError, UnknownOutcomeError):
                await asyncio.sleep(0.02)


async def test_appends_that_are_not_answered_are_in_doubt(proxy: Proxy, store: PostgresEventStore) -> None:
    """C1: all of the group are told, what comes later is stored, and what was in doubt takes effect once."""
    appends = [Append([StreamWrite(stream(), ANY, [event()])], command=record(key())) for _ in range(3)]
    await store.append(to(stream(), event()))
    proxy.stall()
    async with asyncio.timeout(10):
        told = await asyncio.gather(*[store.append(each) for each in appends], return_exceptions=True)
    assert [type(each) for each in told] == [UnknownOutcomeError] * 3
    assert "no answer for 0.6 s" in str(told[0])
    proxy.resume()
    await _insist(store, to(stream(), event()))
    for each in appends:
        await _insist(store, each)
    log = await everything(store)
    assert sorted(one.position for one in log) == list(range(1, 6))


async def test_an_append_that_was_committed_and_not_answered_is_not_repeated(
    proxy: Proxy, store: PostgresEventStore, owner: Connection
) -> None:
    """C1: the server finishes what it has read, though nobody waits for it; who sends it again is told so."""
    gate = "LOOP EXIT WHEN EXISTS (SELECT FROM gate); PERFORM pg_sleep(0.01); END LOOP"
    await owner.execute("CREATE TABLE gate (is_open boolean)")
    await owner.execute(
        f"CREATE FUNCTION hinder() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ BEGIN {gate};"
        "RETURN NEW; END $$; CREATE TRIGGER hinder BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION hinder()"
    )
    append = Append([StreamWrite(stream(), ANY, [event()])], command=record(key()))
    waiting = asyncio.create_task(store.append(append))
    await eventually(lambda: owner.fetch("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
    proxy.stall()
    with pytest.raises(UnknownOutcomeError):
        await waiting
    await owner.execute("INSERT INTO gate VALUES (true)")
    await eventually(lambda: owner.fetch("SELECT FROM events"))
    proxy.resume()
    assert isinstance(await _insist(store, append), CommandKeyTaken)
    assert len(await everything(store)) == 1


async def test_an_append_whose_commit_was_not_sent_is_refused_for_sure(proxy: Proxy, store: PostgresEventStore) -> None:
    """L7: with inline rows there are several steps before the commit."""
    await store.inline.open([TALLIES], store_id=store.store_id)
    await store.append(to(stream(), event()))
    proxy.stall()
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailableError, match="no answer"):
            await store.append(to(stream(), event())._replace(inline=[Counting()]))
    proxy.resume()
    await _insist(store, to(stream(), event()))
    assert [each.position for each in await everything(store)] == [1, 2]


async def test_a_read_that_is_not_answered_is_a_typed_error(proxy: Proxy, store: PostgresEventStore) -> None:
    """X2: no connection is left out, and the next read works."""
    await store.append(to(stream(), event()))
    proxy.stall()
    async with asyncio.timeout(10):
        reads = [store.read_log(after=0), store.head(), store.find_command(key())]
        told = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(each) for each in told] == [StoreUnavailableError] * 3
    assert "no answer in time" in str(told[0])
    assert store.connections_in_use == 0
    proxy.resume()
    assert len(await everything(store)) == 1


@pytest.mark.parametrize("is_for_one", [False, True])
async def test_rows_that_are_not_answered_are_a_typed_error(
    proxy: Proxy, store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch, is_for_one: bool
) -> None:
    """X2: neither readers nor writers of rows wait for ever, and none of their connections is lost."""
    monkeypatch.setattr(views, "_WRITE_SECONDS", 0.3)
    rows = PostgresViewStore(store.database, HURRIED, query_seconds=0.3)
    await rows.open([TALLIES], store_id=store.store_id)
    await rows.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)]), generation=1))
    async with rows.reader(is_for_one=is_for_one) as session:
        assert await session.get(TALLY, ("a",)) == Tally(name="a", total=1)
        proxy.stall()
        async with asyncio.timeout(10):
            with pytest.raises(StoreUnavailableError, match="no answer in time"):
                await session.get(TALLY, ("a",))
            with pytest.raises(StoreUnavailableError):
                await session.get(TALLY, ("a",))
    async with asyncio.timeout(10):
        for _ in range(2):
            change = RowChanges(TALLY, [Tally(name="a", total=2)])
            with pytest.raises(StoreUnavailableError):
                await rows.commit(batch(TALLIES, change, at=1, to=2, generation=1))
            async with rows.reader(is_for_one=is_for_one) as session:
                with pytest.raises(StoreUnavailableError):
                    await session.get(TALLY, ("a",))
    assert rows.connections_in_use == 0
    proxy.resume()
    async with rows.reader(is_for_one=is_for_one) as session:
        assert await session.get(TALLY, ("a",)) is not None
    await rows.close()


async def test_a_pool_has_its_size_back_after_a_silence(proxy: Proxy) -> None:
    """Every connection was thrown away, and every one of them is made again."""
    pool = Connections(database_of(proxy.url(options="&sslmode=disable"))[0], size=3, answers_within=0.2)

    async def ask() -> int:
        async with pool.connection() as held:
            return int(await held.fetchval("SELECT 1"))

    assert await asyncio.gather(*[ask() for _ in range(3)]) == [1] * 3
    proxy.stall()
    told = await asyncio.gather(*[ask() for _ in range(3)], return_exceptions=True)
    assert [type(each) for each in told] == [StoreUnavailableError] * 3
    proxy.resume()
    async with asyncio.timeout(10), pool.connection() as one, pool.connection() as two, pool.connection() as three:
        assert [await each.fetchval("SELECT 1") for each in (one, two, three)] == [1] * 3
    await pool.close()
