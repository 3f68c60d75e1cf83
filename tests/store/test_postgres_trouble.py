"""Appends to PostgreSQL when things go wrong: what is told is true, and the store goes on by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial

import asyncpg
import pytest

from diptych.errors import DiptychError, ProgrammingError, ProjectionError, StoreUnavailableError, UnknownOutcomeError
from diptych.store.postgres.connection import Connection, database_of, open_connection
from diptych.store.postgres.events import PostgresEventStore
from diptych.store.postgres.migrations import lock_key
from diptych.store.postgres.notices import Notices
from diptych.store.postgres.session import open_session
from diptych.store.protocols import Append, Appended, StoreSettings, StreamWrite
from diptych.stream import ANY
from diptych.testing.contracts.events_inline import Counting
from diptych.testing.contracts.events_samples import event, everything, key, record, stream, to
from diptych.testing.contracts.view_rows import TALLIES
from tests.postgres import NoPostgresError, Server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

IMPATIENT = StoreSettings(lock_timeout=0.2)
NEVER_POLLS = StoreSettings(poll_seconds=1000)


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresEventStore]:
    """An open store that waits 0.2 s for the lock."""
    store = PostgresEventStore(database_of(postgres_url)[0], IMPATIENT)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def owner(postgres_url: str) -> AsyncIterator[Connection]:
    """A session of its own, in the schema."""
    database = database_of(postgres_url)[0]
    connection = await open_connection(database, {"search_path": database.schema, "application_name": "psql"})
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server that these tests stop and start, and on which commits are as they are in earnest."""
    try:
        server = Server(settings=["synchronous_commit=on"])
    except NoPostgresError as error:
        pytest.skip(f"PostgreSQL cannot be had: {error}")
    yield server
    server.remove()


async def hindered(owner: Connection, body: str) -> None:
    """Have every insert into the log run this first."""
    await owner.execute(
        f"CREATE FUNCTION hinder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$;"
        "CREATE TRIGGER hinder BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION hinder()"
    )


async def eventually(look: Callable[[], Awaitable[object]]) -> None:
    """Return when this gives something, within 20 seconds."""
    async with asyncio.timeout(20):
        while not await look():  # noqa: ASYNC110 - it is another process that is waited for
            await asyncio.sleep(0.01)


async def unhindered(owner: Connection) -> None:
    await owner.execute("DROP TRIGGER hinder ON events")


@pytest.mark.parametrize("state", ["serialization_failure", "deadlock_detected"])
async def test_what_the_server_undid_is_tried_again(store: PostgresEventStore, owner: Connection, state: str) -> None:
    """L7: and is stored once. A sequence counts, for it is not undone."""
    await owner.execute("CREATE SEQUENCE tries")
    schema = store.database.schema
    await hindered(owner, f"IF nextval('{schema}.tries') < 4 THEN RAISE {state}; END IF;")
    appended = await asyncio.gather(*[store.append(to(stream(), event())) for _ in range(5)])
    assert sorted(each.position for each in appended) == [1, 2, 3, 4, 5]
    assert len(await everything(store)) == 5


async def test_what_was_committed_alone_is_not_tried_again(store: PostgresEventStore, owner: Connection) -> None:
    """L7: a fold fails, so the group goes one by one; of those, the server undoes one."""
    await store.inline.open([TALLIES], store_id=store.store_id)
    await owner.execute("CREATE SEQUENCE tries")
    schema = store.database.schema
    await hindered(owner, f"IF nextval('{schema}.tries') IN (7, 8) THEN RAISE serialization_failure; END IF;")
    folds = [Counting(), Counting(), Counting(fails=True), Counting()]
    appends = [to(stream(), event())._replace(inline=[fold]) for fold in folds]
    outcomes = await asyncio.gather(*[store.append(each) for each in appends], return_exceptions=True)
    assert [isinstance(each, Appended) for each in outcomes] == [True, True, False, True]
    assert isinstance(outcomes[2], ProjectionError)
    assert await owner.fetchval("SELECT last_value FROM tries") > 8
    assert [each.position for each in await everything(store)] == [1, 2, 3]
    assert (await store.inline.checkpoint(TALLIES.name)).position == 3


async def test_what_waits_when_a_store_is_closed_is_still_written(store: PostgresEventStore) -> None:
    """L7: with its rows; and what comes later is refused."""
    await store.inline.open([TALLIES], store_id=store.store_id)
    folds = [Counting() for _ in range(20)]
    waiting = [asyncio.create_task(store.append(to(stream(), event())._replace(inline=[fold]))) for fold in folds]
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.append(to(stream(), event()))
    assert sorted([(await each).position for each in waiting]) == list(range(1, 21))
    assert [len(fold.seen) for fold in folds] == [1] * 20


async def test_what_is_undone_for_ever_is_refused_for_good(store: PostgresEventStore, owner: Connection) -> None:
    """A definite error: nothing was stored, and the next append is."""
    await hindered(owner, "RAISE serialization_failure;")
    refused = await asyncio.gather(*[store.append(to(stream(), event())) for _ in range(3)], return_exceptions=True)
    assert [type(each) for each in refused] == [StoreUnavailableError] * 3
    assert len({id(each) for each in refused}) == 3
    await unhindered(owner)
    assert (await store.append(to(stream(), event()))).position == 1


async def test_a_stuck_holder_of_the_lock_is_named(store: PostgresEventStore, owner: Connection) -> None:
    """Waiters are bounded: who waits is told in time, definitely, and by whom it was kept."""
    pid = await owner.fetchval("SELECT pg_backend_pid()")
    assert await store.lock_holder() is None
    await owner.execute("BEGIN")
    await owner.execute(f"SELECT pg_advisory_xact_lock({lock_key(store.database.schema, 'append')})")
    with pytest.raises(StoreUnavailableError, match=f"process {pid} .psql, from a local socket, idle in transaction"):
        await store.append(to(stream(), event()))
    assert f"process {pid} " in str(await store.lock_holder())
    await owner.execute("ROLLBACK")
    assert (await store.append(to(stream(), event()))).position == 1


async def test_who_stands_still_loses_the_lock_to_those_who_wait(store: PostgresEventStore) -> None:
    """A process that is stopped in the middle of an append with inline rows; nothing of it is stored."""

    async def stand_still(connection: Connection) -> None:
        await connection.execute("BEGIN")
        await connection.execute(f"SELECT pg_advisory_xact_lock({lock_key(store.database.schema, 'append')})")

    patient = StoreSettings(lock_timeout=2)
    session = await open_session(store.database, patient, stand_still)
    other = PostgresEventStore(store.database, patient)
    await other.open()
    assert (await other.append(to(stream(), event()))).position == 1
    await eventually(lambda: asyncio.sleep(0, session.is_over))
    await other.close()
    await session.close()


async def test_an_append_in_another_isolation_is_refused(store: PostgresEventStore, owner: Connection) -> None:
    """L5: under REPEATABLE READ it would count from a head that is no longer one."""
    await owner.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    nothing = ", ".join(["NULL"] * 12)
    with pytest.raises(asyncpg.PostgresError, match="needs READ COMMITTED: under REPEATABLE READ"):
        await owner.execute(f"SELECT append_events(1, ARRAY[1], {nothing})")
    await owner.execute("ROLLBACK")


async def test_another_default_isolation_changes_nothing(postgres_url: str, owner: Connection) -> None:
    """The store asks for what it needs."""
    await owner.execute("ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'")
    try:
        store = PostgresEventStore(database_of(postgres_url)[0])
        await store.open()
        await asyncio.gather(*[store.append(to(stream(), event())) for _ in range(20)])
        assert len(await everything(store)) == 20
        await store.close()
    finally:
        await owner.execute("ALTER DATABASE postgres RESET default_transaction_isolation")


async def test_a_session_that_is_cut_in_an_append_leaves_a_doubt(store: PostgresEventStore, owner: Connection) -> None:
    """L1: nobody can know whether it was stored, so nobody says so; the next append finds the way by itself."""
    await store.append(to(stream(), event()))
    await hindered(owner, "PERFORM pg_sleep(30);")
    waiting = asyncio.create_task(store.append(to(stream(), event())))
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    await eventually(lambda: owner.fetch(cut))
    with pytest.raises(UnknownOutcomeError):
        await waiting
    await unhindered(owner)
    assert (await store.append(to(stream(), event()))).position == 2


async def test_a_refused_statement_is_no_doubt(store: PostgresEventStore, owner: Connection) -> None:
    """What the server refuses was not stored, for sure."""
    await hindered(owner, "RAISE EXCEPTION 'no';")
    with pytest.raises(ProgrammingError, match="no"):
        await store.append(to(stream(), event()))
    await unhindered(owner)
    assert (await store.append(to(stream(), event()))).position == 1


async def test_cancelled_callers_leave_all_or_nothing(store: PostgresEventStore) -> None:
    """L2, L7: at any moment of an append; the store is as if nothing had been."""
    names = [stream() for _ in range(200)]
    callers = []
    for number, name in enumerate(names):
        callers.append(asyncio.create_task(store.append(to(name, event(), event()))))
        if number % 7 == 0:
            await asyncio.sleep(0.0005)
        callers[number // 2].cancel()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    await store.append(to(stream(), event()))
    log = await everything(store)
    assert [each.position for each in log] == list(range(1, len(log) + 1))
    for name, outcome in zip(names, outcomes, strict=True):
        stored = len(await store.read_stream(name))
        assert stored == 2 if isinstance(outcome, Appended) else stored in (0, 2)
    assert store.connections_in_use == 0


async def test_readers_see_no_gap_while_several_stores_append(postgres_url: str) -> None:
    """L2, L4, L5: four stores, as four processes are, and a reader that polls as fast as it can."""
    stores = [PostgresEventStore(database_of(postgres_url)[0]) for _ in range(4)]
    for each in stores:
        await each.open()
    writing = [asyncio.create_task(_write(each, 25)) for each in stores for _ in range(4)]
    seen: list[int] = []
    while len(seen) < 16 * 25 * 2:
        page = await stores[0].read_log(after=len(seen))
        seen.extend(each.position for each in page.events)
    await asyncio.gather(*writing)
    assert seen == list(range(1, 16 * 25 * 2 + 1))
    for each in stores:
        await each.close()


async def _write(store: PostgresEventStore, times: int) -> None:
    name = stream()
    before = 0
    for turn in range(times):
        appended = await store.append(to(name, event(), event(), expected=2 * turn))
        assert appended.position > before
        before = appended.position


@pytest.mark.parametrize("how", ["told", "found"])
async def test_what_another_process_appends_is_noticed(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """P6: by a notice, with polling out of reach; and by polling, with every notice dropped."""
    if how == "found":
        monkeypatch.setattr(Notices, "start", lambda self: None)
    settings = StoreSettings() if how == "found" else NEVER_POLLS
    here, there = (PostgresEventStore(database_of(postgres_url)[0], settings) for _ in range(2))
    await here.open()
    await there.open()
    async with asyncio.timeout(20):
        for position in range(3):
            waiting = asyncio.create_task(_wait_past(here, position))
            await asyncio.sleep(0.05)
            await there.append(to(stream(), event()))
            await waiting
    await here.close()
    await there.close()


async def test_who_comes_third_tells_the_others_too(postgres_url: str) -> None:
    """P6: two that know of each other answer the third, which else would think itself alone and tell nobody."""
    stores = [PostgresEventStore(database_of(postgres_url)[0], NEVER_POLLS) for _ in range(3)]
    for store in stores:
        await store.open()
    async with asyncio.timeout(20):
        for position, appends in enumerate((0, 1, 2, 2, 2)):
            others = [store for store in stores[:2] if store is not stores[appends]]
            waiting = [asyncio.create_task(_wait_past(store, position)) for store in others]
            await asyncio.sleep(0.1)
            await stores[appends].append(to(stream(), event()))
            await asyncio.gather(*waiting)
    for store in stores:
        await store.close()


async def _wait_past(store: PostgresEventStore, position: int) -> None:
    while (await store.head()).position <= position:
        await store.wait(position, 100)


async def test_a_restarted_server_is_found_again(own_server: Server) -> None:
    """L1: what was acknowledged is there; nothing has to be done."""
    store = PostgresEventStore(database_of(own_server.url(schema="restarted"))[0])
    await store.open()
    acknowledged, told, is_over = 0, set[type[BaseException]](), asyncio.Event()

    async def write() -> None:
        nonlocal acknowledged
        while not is_over.is_set():
            try:
                await store.append(to(stream(), event()))
                acknowledged += 1
            except DiptychError as error:
                told.add(type(error))
                await asyncio.sleep(0.02)

    async def reached(enough: int) -> bool:
        return acknowledged >= enough

    writing = [asyncio.create_task(write()) for _ in range(4)]
    await asyncio.sleep(0.1)
    for _ in range(2):
        own_server.restart()  # by this thread: the server ends with the one that started it
        await eventually(partial(reached, acknowledged + 10))
    is_over.set()
    await asyncio.gather(*writing)
    log = await everything(store)
    assert told <= {StoreUnavailableError, UnknownOutcomeError}
    assert acknowledged <= len(log)
    assert [each.position for each in log] == list(range(1, len(log) + 1))
    await store.close()


async def test_a_standby_that_is_cut_off_leaves_a_doubt(own_server: Server) -> None:
    """L1, C3: what waits for a standby in vain is stored, but not for sure; nor is it the answer to a repetition."""
    store = PostgresEventStore(database_of(own_server.url(schema="alone"))[0])
    await store.open()
    used = key()
    await store.append(Append([StreamWrite(stream(), ANY, [event()])], command=record(used)))
    own_server.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    own_server.query("SELECT pg_reload_conf()")
    try:
        waiting = asyncio.create_task(store.append(to(stream(), event())))
        await _cancel_one_who_waits_for_a_standby(own_server)
        with pytest.raises(UnknownOutcomeError, match="synchronous replication"):
            await waiting
        assert await store.find_command(key()) is None
        asked = asyncio.create_task(store.find_command(used))
        done, _ = await asyncio.wait([asked], timeout=0.3)
        assert not done
        asked.cancel()
        await asyncio.wait([asked])
    finally:
        own_server.query("ALTER SYSTEM RESET synchronous_standby_names")
        own_server.query("SELECT pg_reload_conf()")
    found = await store.find_command(used)
    assert found is not None
    assert found.position == 1
    assert (await store.append(to(stream(), event()))).position == 3
    await store.close()


async def _cancel_one_who_waits_for_a_standby(server: Server) -> None:
    sql = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    await eventually(lambda: asyncio.sleep(0, server.query(sql)))
