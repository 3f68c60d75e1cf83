"""The read side of the SQLite view store: what the database refuses, and that no connection is ever lost."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import apsw
import pytest

from diptych.errors import (
    AccessDeniedError,
    ProgrammingError,
    ProjectionError,
    StoreNewerThanCodeError,
    StoreUnavailableError,
)
from diptych.events.recorded import NewEvent, StoredEvent
from diptych.store.batches import Checkpoint, Load, ProjectionTables, RowChanges
from diptych.store.protocols import Append, StoreSettings, StreamWrite
from diptych.store.sqlite import connections
from diptych.store.sqlite.connection import open_writer
from diptych.store.sqlite.events import SqliteEventStore
from diptych.store.sqlite.fence import let_in
from diptych.store.sqlite.reader import CONNECTIONS
from diptych.store.sqlite.views import SqliteViewStore, views_file
from diptych.stream import NO_STREAM, StreamName
from diptych.testing.contracts.view_rows import KINDS, SHOP, STOCK, TALLIES, TALLY, Stock, Tally, batch, every_kind

pytestmark = pytest.mark.anyio

HOSTILE = {
    "SELECT * FROM events": "may not read events",
    "SELECT count(*) FROM events": "may not read events",
    "SELECT payload FROM inline.events": "may not read events",
    "SELECT (SELECT max(position) FROM events) FROM tally": "may not read events",
    "WITH e AS (SELECT * FROM streams) SELECT * FROM e": "may not read streams",
    "SELECT * FROM sqlite_master": "may not read sqlite_master",
    "SELECT * FROM inline.sqlite_schema": "may not read sqlite_master",
    "SELECT * FROM workers": "may not read workers",
    "SELECT * FROM pragma_table_info('events')": "may not read pragma_table_info",
    "SELECT * FROM dbstat": "may not read dbstat",
    "PRAGMA writable_schema = 1": "may only SELECT, not PRAGMA",
    "PRAGMA query_only = 0": "may only SELECT, not PRAGMA",
    "ATTACH 'other.db' AS other": "may only SELECT, not ATTACH",
    "DETACH inline": "may only SELECT, not DETACH",
    "VACUUM INTO 'copy.db'": "may only SELECT, not VACUUM",
    "INSERT INTO tally VALUES ('x', 1)": "may only SELECT, not INSERT",
    "WITH x AS (SELECT 1) INSERT INTO tally VALUES ('x', 1)": "may only SELECT, not insert tally",
    "WITH x AS (SELECT 1) UPDATE tally SET total = 0": "may only SELECT",
    "WITH x AS (SELECT 1) DELETE FROM stock": "may only SELECT",
    "EXPLAIN SELECT * FROM events": "may only SELECT, not EXPLAIN",
    "SELECT load_extension('evil.so')": "load_extension",
}


class Counting:
    """An inline projection that counts events, and fails when told to."""

    name = "tallies"

    def __init__(self, fails: bool = False) -> None:
        self._fails = fails

    def loads(self, events: Sequence[StoredEvent]) -> Sequence[Load]:
        return [Load(TALLY, ("name",), [("events",)])]

    def fold(self, events: Sequence[StoredEvent], rows: Mapping[str, Sequence[Any]]) -> Sequence[RowChanges]:
        if self._fails:
            raise ProjectionError("tallies", events[0].position, events[0].type, "told to fail")
        before = rows["tally"][0].total if rows["tally"] else 0
        return [RowChanges(TALLY, [Tally(name="events", total=before + len(events))])]

    def script(self, events: Sequence[StoredEvent]) -> None:
        return None


def appending(count: int, *folds: Counting) -> Append:
    """Return an append of some events to a new stream."""
    events = [NewEvent(uuid4().bytes, "Happened", 1, "{}") for _ in range(count)]
    return Append([StreamWrite(StreamName("", "thing", uuid4()), NO_STREAM, events)], inline=folds)


async def counted(views: SqliteViewStore) -> int:
    """Return what the inline projection has counted."""
    async with views.reader() as session:
        row = await session.get(TALLY, ("events",))
    return row.total if row is not None else 0


async def all_returned(store: SqliteViewStore) -> None:
    """Wait until no connection is handed out."""
    for _ in range(5000):
        if not store.connections_in_use:
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"{store.connections_in_use} connections were never given back")


@pytest.fixture
async def events(tmp_path: Path) -> AsyncIterator[SqliteEventStore]:
    """An event store with inline rows."""
    store = SqliteEventStore(str(tmp_path / "shop.db"))
    await store.open()
    await store.inline.open([TALLIES], store_id=store.store_id)
    yield store
    await store.close()


@pytest.fixture
async def views(tmp_path: Path, events: SqliteEventStore) -> AsyncIterator[SqliteViewStore]:
    """A view store beside it; its sessions read the rows of both."""
    store = SqliteViewStore(
        views_file(str(tmp_path / "shop.views.db")), StoreSettings(), inline=events.inline, query_seconds=2.0
    )
    await store.open([SHOP], store_id=events.store_id)
    await store.commit(batch(SHOP, RowChanges(STOCK, [Stock(shop="s", product=1, quantity=5)])))
    yield store
    assert store.connections_in_use == 0
    await store.close()


@pytest.mark.parametrize(("sql", "why"), HOSTILE.items())
async def test_the_database_refuses_everything_but_registered_rows(views: SqliteViewStore, sql: str, why: str) -> None:
    """R4: tried with every way we know."""
    async with views.reader() as session:
        with pytest.raises(AccessDeniedError, match=why):
            await session.fetch(sql, {})
        assert await session.fetch("SELECT product, quantity FROM stock", {}) == [(1, 5)]


async def test_a_read_model_named_as_an_event_table_opens_no_door_to_it(
    tmp_path: Path, events: SqliteEventStore
) -> None:
    """R4: `Events` is a likely name for a read model."""
    table = replace(TALLY, name="events")
    views = SqliteViewStore(views_file(str(tmp_path / "v.db")), StoreSettings(), inline=events.inline)
    await views.open([ProjectionTables("doors", [table])], store_id=events.store_id)
    async with views.reader() as session:
        assert await session.fetch("SELECT count(*), max(total) FROM events e", {}) == [(0, None)]
        for sql in ("SELECT payload FROM inline.events", "SELECT count(*) FROM inline.events e"):
            with pytest.raises(AccessDeniedError, match="may not read events"):
                await session.fetch(sql, {})
    await views.close()


async def test_the_connection_itself_cannot_write(views: SqliteViewStore) -> None:
    """R4: also without the authorizer, the file is opened for reading alone."""
    assert views._readers is not None
    held = await views._readers.pool.acquire()
    held.connection.authorizer = None
    let_in(held.connection)
    with pytest.raises(apsw.ReadOnlyError):
        held.connection.execute("DELETE FROM stock__g1")
    with pytest.raises(apsw.ReadOnlyError):
        held.connection.execute("DELETE FROM inline.tally__g1")
    views._readers.pool.release(held, is_broken=True)


async def test_inline_rows_are_read_beside_the_others(events: SqliteEventStore, views: SqliteViewStore) -> None:
    await events.inline.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=3)]), generation=1))
    async with views.reader() as session:
        assert await session.get(TALLY, ("a",)) == Tally(name="a", total=3)
        joined = "SELECT total * quantity FROM tally, stock"
        assert await session.fetch(joined, {}) == [(15,)]
        assert (await session.freshness("tallies")).checkpoint == Checkpoint(1, 0, b"e1", 1000)
        assert (await session.freshness("shop")).checkpoint.position == 1


async def test_inline_rows_commit_with_the_append(events: SqliteEventStore, views: SqliteViewStore) -> None:
    """L7: rows and their checkpoint are there when the append is."""
    for count in (2, 3):
        await events.append(appending(count, Counting()))
    assert await counted(views) == 5
    assert (await events.inline.checkpoint("tallies")).position == 5


async def test_appends_in_one_group_fold_one_after_the_other(events: SqliteEventStore, views: SqliteViewStore) -> None:
    await asyncio.gather(*[events.append(appending(1, Counting())) for _ in range(50)])
    assert await counted(views) == 50
    assert (await events.inline.checkpoint("tallies")).position == 50


async def test_an_inline_projection_that_is_behind_is_left_out(
    events: SqliteEventStore, views: SqliteViewStore
) -> None:
    """P2: it never skips; the asynchronous worker catches it up first."""
    await events.append(appending(1))
    await events.append(appending(1, Counting()))
    assert await counted(views) == 0
    assert (await events.inline.checkpoint("tallies")).position == 0


async def test_a_failing_fold_refuses_its_append_alone(events: SqliteEventStore, views: SqliteViewStore) -> None:
    """L7: all or nothing; neighbours in the group are not touched."""
    outcomes = await asyncio.gather(
        events.append(appending(1, Counting())),
        events.append(appending(1, Counting(fails=True))),
        events.append(appending(1, Counting())),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes if isinstance(each, BaseException)] == [ProjectionError]
    assert (await events.head()).position == 2
    assert await counted(views) == 2


async def test_a_projection_that_became_inline_leaves_no_shadow(tmp_path: Path) -> None:
    events = SqliteEventStore(str(tmp_path / "shop.db"))
    await events.open()
    path = str(tmp_path / "shop.views.db")
    before = SqliteViewStore(views_file(path), StoreSettings())
    await before.open([TALLIES], store_id=events.store_id)
    await before.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="old", total=1)]), generation=1))
    await before.close()
    await events.inline.open([TALLIES], store_id=events.store_id)
    views = SqliteViewStore(views_file(path), StoreSettings(), inline=events.inline)
    await views.open([], store_id=events.store_id)
    async with views.reader() as session:
        assert await session.get(TALLY, ("old",)) is None
    await views.close()
    await events.close()


async def test_a_slow_query_is_stopped_and_the_loop_goes_on(views: SqliteViewStore) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    async with views.reader() as session:
        slow = asyncio.create_task(session.fetch(endless, {}))
        async with views.reader() as other:
            assert await other.get(STOCK, ("s", 1)) is not None
        with pytest.raises(StoreUnavailableError, match="ran for too long"):
            await slow
        assert await session.fetch("SELECT quantity FROM stock", {}) == [(5,)]


async def test_a_cancelled_read_gives_its_connection_back(views: SqliteViewStore) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"

    async def read() -> None:
        async with views.reader() as session:
            await session.fetch(endless, {})

    tasks = [asyncio.create_task(read()) for _ in range(CONNECTIONS + 4)]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
    await all_returned(views)
    async with views.reader() as session:
        assert await session.get(STOCK, ("s", 1)) is not None


async def test_a_load_that_is_cancelled_gives_its_connection_back(views: SqliteViewStore) -> None:
    keys = [("s", number) for number in range(20_000)]
    task = asyncio.create_task(views.load(1, [Load(STOCK, ("shop", "product"), keys)]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await all_returned(views)


async def test_who_waits_too_long_for_a_connection_is_told_so(
    views: SqliteViewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "WAIT_SECONDS", 0.05)
    sessions = [views.reader() for _ in range(CONNECTIONS)]
    for session in sessions:
        await (await session.__aenter__()).get(STOCK, ("s", 1))
    async with views.reader() as late:
        with pytest.raises(StoreUnavailableError, match="all 8 reading connections were in use"):
            await late.get(STOCK, ("s", 1))
        await sessions[0].__aexit__(None, None, None)
        assert await late.get(STOCK, ("s", 1)) is not None
    for session in sessions[1:]:
        await session.__aexit__(None, None, None)


async def test_who_waits_for_a_connection_gets_a_new_one_when_the_others_break(views: SqliteViewStore) -> None:
    """X2: a disk that failed for all readers at once leaves nobody waiting for connections that are no more."""
    assert views._readers is not None
    pool = views._readers.pool
    held = [await pool.acquire() for _ in range(CONNECTIONS)]
    waiting = [asyncio.create_task(pool.acquire()) for _ in range(3)]
    await asyncio.sleep(0.01)
    for each in held:
        pool.release(each, is_broken=True)
    async with asyncio.timeout(2):
        for each in await asyncio.gather(*waiting):
            pool.release(each)


async def test_who_waits_for_a_connection_of_a_closed_store_is_told_at_once(views: SqliteViewStore) -> None:
    assert views._readers is not None
    pool = views._readers.pool
    held = [await pool.acquire() for _ in range(CONNECTIONS)]
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0.01)
    pool.close()
    async with asyncio.timeout(2):
        with pytest.raises(StoreUnavailableError, match="is closed"):
            await waiting
    for each in held:
        pool.release(each)


async def test_readers_follow_when_the_file_is_replaced(
    tmp_path: Path, views: SqliteViewStore, events: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LOOK_SECONDS", -1.0)
    async with views.reader() as session:
        assert await session.fetch("SELECT quantity FROM stock", {}) == [(5,)]
    other = SqliteViewStore(views_file(str(tmp_path / "other.db")), StoreSettings())
    await other.open([SHOP], store_id=events.store_id)
    await other.commit(batch(SHOP, RowChanges(STOCK, [Stock(shop="s", product=1, quantity=9)])))
    await other.close()
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"shop.views.db{suffix}").unlink()
    os.replace(tmp_path / "other.db", tmp_path / "shop.views.db")
    async with views.reader() as session:
        assert await session.fetch("SELECT quantity FROM stock", {}) == [(9,)]


async def test_a_deleted_file_is_made_again(tmp_path: Path, events: SqliteEventStore) -> None:
    """Deleting the rows loses nothing: every projection begins again from the log."""
    path = tmp_path / "rows.db"
    for _ in range(2):
        store = SqliteViewStore(views_file(str(path)), StoreSettings())
        await store.open([SHOP], store_id=events.store_id)
        assert await store.checkpoint("shop") == Checkpoint()
        await store.commit(batch(SHOP, RowChanges(KINDS, [every_kind(1)])))
        await store.close()
        path.unlink()


async def test_a_newer_schema_is_refused_and_nothing_is_touched(tmp_path: Path, events: SqliteEventStore) -> None:
    path = tmp_path / "rows.db"
    store = SqliteViewStore(views_file(str(path)), StoreSettings())
    await store.open([SHOP], store_id=events.store_id)
    await store.close()
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreNewerThanCodeError):
        await SqliteViewStore(views_file(str(path)), StoreSettings()).open([SHOP], store_id=events.store_id)
    assert path.read_bytes() == before


async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    store = SqliteViewStore(views_file(str(tmp_path / "rows.db")), StoreSettings())
    with pytest.raises(StoreUnavailableError, match="is not open"):
        await store.checkpoint("shop")
    with pytest.raises(StoreUnavailableError, match="is not open"):
        store.reader()
    with pytest.raises(StoreUnavailableError, match="is not open"):
        await store.commit(batch(SHOP))


async def test_a_batch_of_an_unknown_projection_is_refused(views: SqliteViewStore) -> None:
    with pytest.raises(ProgrammingError, match="was not opened with the projection tallies"):
        await views.commit(batch(TALLIES))


async def test_the_plan_of_a_lookup_uses_the_key(views: SqliteViewStore) -> None:
    """A load of many keys never scans the table."""
    connection = apsw.Connection(views.file.path, flags=apsw.SQLITE_OPEN_READONLY)
    for condition in ('"product" = 1 AND "shop" = \'s\'', "(\"shop\", \"product\") IN (VALUES ('s', 1), ('s', 2))"):
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM stock WHERE {condition}")]
        assert not any(step.startswith("SCAN stock") for step in plan), plan
    connection.close()


async def test_an_index_that_a_build_left_out_is_there_when_it_was_made(views: SqliteViewStore) -> None:
    indexed = ProjectionTables("shop", (*SHOP.tables[:-1], replace(STOCK, indexes=(("quantity",),))), version=2)
    built = await views.generations.begin(indexed)
    connection = apsw.Connection(views.file.path, flags=apsw.SQLITE_OPEN_READONLY)
    made = (
        f"SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'stock__g{built.number}' AND sql <> ''"
    )
    assert connection.execute(made).get == 0
    await views.generations.index("shop", built.number)
    assert connection.execute(made).get == 1
    connection.close()


async def test_a_connection_is_used_again_unless_something_was_wrong_with_it(
    tmp_path: Path, events: SqliteEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    open_loader = SqliteViewStore._open_loader

    def count(store: SqliteViewStore) -> Any:
        opened.append(1)
        return open_loader(store)

    monkeypatch.setattr(SqliteViewStore, "_open_loader", count)
    store = SqliteViewStore(views_file(str(tmp_path / "other.views.db")), StoreSettings())
    await store.open([TALLIES], store_id=events.store_id)
    load, no_such = Load(TALLY, ("name",), [("a",)]), Load(replace(TALLY, name="none"), ("name",), [("a",)])
    for _ in range(3):
        await store.load(1, [load])
    assert len(opened) == 1
    with pytest.raises(ProgrammingError):
        await store.load(1, [no_such])
    await store.load(1, [load])
    assert len(opened) == 2
    await store.close()


async def used(store: SqliteViewStore) -> None:
    """Use each kind of connection that it has."""
    (live,) = await store.generations.all("tallies")
    await store.load(live.number, [Load(TALLY, ("name",), [("a",)])])
    async with store.reader() as session:
        assert await session.fetch("SELECT name FROM tally", {}) == []


def threads() -> set[threading.Thread]:
    """All but those that asyncio keeps."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


async def test_closing_lets_go_of_the_file_and_of_every_thread(tmp_path: Path, events: SqliteEventStore) -> None:
    """Who closes an SQLite file last removes what is beside it."""
    before, path = threads(), str(tmp_path / "other.views.db")
    store = SqliteViewStore(views_file(path), StoreSettings())
    await store.open([TALLIES], store_id=events.store_id)
    await used(store)
    assert threads() - before
    await store.close()
    assert not {f"other.views.db-{kind}" for kind in ("wal", "shm")} & set(os.listdir(tmp_path))
    assert not threads() - before


async def test_rows_beside_the_log_may_be_opened_again_and_are_let_go_of_with_it(tmp_path: Path) -> None:
    store = SqliteEventStore(str(tmp_path / "other.db"))
    await store.open()
    for projections in ([TALLIES], [TALLIES, SHOP]):
        await store.inline.open(projections, store_id=store.store_id)
        await used(store.inline)
    await store.close()
    assert not {f"other.db-{kind}" for kind in ("wal", "shm")} & set(os.listdir(tmp_path))


async def test_a_statement_is_prepared_once_however_often_it_is_bound(tmp_path: Path) -> None:
    """Without the planner's stability guarantee SQLite prepares again for each value; the authorizer would see it."""
    connection = open_writer(views_file(str(tmp_path / "x.db")), synchronous="normal", lock_timeout=1.0)
    connection.execute("CREATE TABLE t (name TEXT, lane INTEGER, at INTEGER, PRIMARY KEY (name, lane)) STRICT")
    asked: list[object] = []

    def allow(*question: object) -> int:
        asked.append(question)
        return apsw.SQLITE_OK

    connection.authorizer = allow
    for value in range(20):
        connection.execute("SELECT at FROM t WHERE name = ? ORDER BY at", (str(value),)).fetchall()
    assert len(asked) < 20
    connection.close()
