"""What the file of rows stands, and what it says of the rest: wide rows, tables that are gone, wrong queries."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import apsw
import pytest
from pydantic import create_model

from diptych.errors import (
    AccessDeniedError,
    ConfigurationError,
    DiptychError,
    InvalidInputError,
    ProgrammingError,
    StoreNewerThanCodeError,
    StoreUnavailableError,
    ValueDoesNotFitError,
)
from diptych.read.models import Key, ReadModel, table_of
from diptych.store.batches import Checkpoint, Freshness, Load, ProjectionTables, RowChanges
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.events import SqliteEventStore
from diptych.store.sqlite.reader import CONNECTIONS
from diptych.store.sqlite.views import SqliteViewStore, temporary_view_store, views_file
from diptych.testing.contracts.view_rows import STOCK, STORE, TALLIES, TALLY, Tally, batch

pytestmark = pytest.mark.anyio

_COLUMNS: dict[str, Any] = {f"c{number}": (int, ...) for number in range(150)}
Broad = create_model("Broad", __base__=ReadModel, id=(Annotated[int, Key], ...), **_COLUMNS)
BROAD = table_of(Broad)


def broad(id: int) -> Any:
    return Broad.model_validate({"id": id, **{name: id + at for at, name in enumerate(_COLUMNS)}})


async def test_many_rows_with_very_many_columns_are_written() -> None:
    """256 of them have more values than SQLite takes in one statement."""
    store = temporary_view_store(StoreSettings())
    await store.open([ProjectionTables("shop", (BROAD,))], store_id=STORE)
    rows = [broad(number) for number in range(600)]
    await store.commit(batch(ProjectionTables("shop", (BROAD,)), RowChanges(BROAD, rows)))
    found = (await store.load(1, [Load(BROAD, ("id",), [(number,) for number in range(600)])]))[BROAD.name]
    assert sorted(found, key=lambda row: row.id) == rows
    await store.close()


async def test_a_generation_whose_table_was_dropped_by_hand_is_made_anew(tmp_path: Path) -> None:
    """P2: its checkpoint is not believed without its rows."""
    file = views_file(str(tmp_path / "shop.views.db"))
    store = SqliteViewStore(file, StoreSettings())
    await store.open([TALLIES], store_id=STORE)
    await store.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="one", total=1)]), generation=1))
    assert (await store.checkpoint(TALLIES.name)).position == 1
    await store.close()
    with apsw.Connection(file.path) as owner:
        (table,) = [
            name for (name,) in owner.execute("SELECT name FROM sqlite_schema WHERE type = 'table'") if "tally" in name
        ]
        owner.execute("PRAGMA foreign_keys = off")
        owner.execute(f'DROP TABLE "{table}"')
    owner.close()
    again = SqliteViewStore(file, StoreSettings())
    await again.open([TALLIES], store_id=STORE)
    assert (await again.checkpoint(TALLIES.name)).position == 0
    number = (await again.generations.all(TALLIES.name))[-1].number
    await again.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="two", total=2)]), generation=number))
    found = (await again.load(number, [Load(TALLY, ("name",), [("one",), ("two",)])]))[TALLY.name]
    assert [row.name for row in found] == ["two"]
    await again.close()


async def test_a_name_that_is_our_own_tables_is_no_read_models(tmp_path: Path) -> None:
    store = SqliteViewStore(views_file(str(tmp_path / "shop.views.db")), StoreSettings())
    taken = ProjectionTables("shop", (replace(TALLY, name="workers"),))
    with pytest.raises(ConfigurationError, match="shop: the table workers belongs to Diptych itself"):
        await store.open([taken], store_id=STORE)
    await store.close()


async def test_rows_of_newer_code_are_refused_beside_the_log_too(tmp_path: Path) -> None:
    """There the file's own number says nothing of them."""
    events = SqliteEventStore(str(tmp_path / "shop.db"))
    await events.open()
    await events.inline.open([TALLIES], store_id=events.store_id)
    with apsw.Connection(events.file.path) as newer:
        newer.execute("UPDATE view_store SET schema_version = schema_version + 1")
    newer.close()
    with pytest.raises(StoreNewerThanCodeError, match="rows"):
        await events.inline.open([TALLIES], store_id=events.store_id)
    await events.close()


async def test_a_table_that_is_gone_is_said_by_whatever_reads_it(tmp_path: Path) -> None:
    """X2: as an error of ours that names the file, and no connection is kept."""
    file = views_file(str(tmp_path / "shop.views.db"))
    store = SqliteViewStore(file, StoreSettings())
    await store.open([TALLIES], store_id=STORE)
    built = await store.generations.begin(TALLIES._replace(version=2))
    with apsw.Connection(file.path) as owner:
        owner.execute("PRAGMA foreign_keys = off")
        owner.execute(f'DROP TABLE "tally__g{built.number}"')
    owner.close()
    for reading in (
        store.generations.compare("tallies", 1, built.number),
        store.load(built.number, [Load(TALLY, ("name",), [("a",)])]),
        store.load(built.number, [Load(TALLY, ("name",), [(f"{n}",) for n in range(99)])]),
    ):
        with pytest.raises(DiptychError, match="no such table") as caught:
            await reading
        assert file.path in str(caught.value)
    assert store.connections_in_use == 0
    await store.close()


async def test_a_store_that_is_not_open_refuses_what_it_writes_and_reads(tmp_path: Path) -> None:
    store = SqliteViewStore(views_file(str(tmp_path / "shop.views.db")), StoreSettings())
    many = [Load(TALLY, ("name",), [(f"{n}",) for n in range(99)])]
    for asked in (
        store.generations.all(),
        store.leases.board(),
        store.parked("tallies"),
        store.load(1, many),
        store.commit(batch(TALLIES)),
    ):
        with pytest.raises(StoreUnavailableError, match=r"is not open\. Open the store first"):
            await asked
    with pytest.raises(StoreUnavailableError, match="is not open"):
        store.reader()
    await store.open([TALLIES], store_id=STORE)
    assert store._readers is not None
    store._readers.threads.shutdown()
    with pytest.raises(StoreUnavailableError, match="is not open"):
        await store.load(1, many)
    assert store.connections_in_use == 0
    await store.close()


async def test_what_is_known_of_statements_does_not_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P8: values that are written into a statement make each of them another."""
    monkeypatch.setattr("diptych.store.sqlite.statements._KNOWN", 3)
    store = SqliteViewStore(views_file(str(tmp_path / "shop.views.db")), StoreSettings())
    await store.open([TALLIES], store_id=STORE)
    assert store._readers is not None
    async with store.reader() as session:
        for number in range(10):
            assert await session.fetch(f"SELECT {number}", {}) == [(number,)]
            assert await session.fetch(f"SELECT {number}", {}) == [(number,)]
            assert len(store._readers.statements._known) <= 3
    await store.close()


async def test_a_query_is_told_apart_by_what_is_wrong_with_it(tmp_path: Path) -> None:
    """R4, I1"""
    store = SqliteViewStore(views_file(str(tmp_path / "shop.views.db")), StoreSettings())
    await store.open([TALLIES], store_id=STORE)
    async with store.reader() as session:
        for sql, kind, why in (
            ("SELECT * FROM events", AccessDeniedError, "may not read events"),
            ("SELECT * FROM nowhere", ProgrammingError, "The query cannot be run: no such table: nowhere"),
            ("SELECT zeroblob(2000000000)", InvalidInputError, "too large"),
            ("SELECT total FROM tally WHERE name = :name", ProgrammingError, ":name has no value"),
            ("SELECT 1; SELECT 2", ProgrammingError, "One statement at a time"),
            ("", AccessDeniedError, "may only SELECT, not nothing"),
        ):
            with pytest.raises(kind, match=why):
                await session.fetch(sql, {})
        with pytest.raises(AccessDeniedError, match="may not read stock"):
            await session.get(STOCK, ("s", 1))
        with pytest.raises(ProgrammingError, match="was not opened with the projection shop"):
            await session.freshness("shop")
        with pytest.raises(ValueDoesNotFitError, match="keeps text"):
            await session.get(TALLY, (7,))
        with pytest.raises(InvalidInputError, match="NUL"):
            await session.get(TALLY, ("a\0",))
    with pytest.raises(ProgrammingError, match="This read session has ended"):
        await session.get(TALLY, ("a",))
    await store.close()


async def test_a_session_that_ends_while_it_waits_gives_back_what_it_gets(tmp_path: Path) -> None:
    store = SqliteViewStore(views_file(str(tmp_path / "shop.views.db")), StoreSettings())
    await store.open([TALLIES], store_id=STORE)
    assert store._readers is not None
    pool = store._readers.pool
    held = [await pool.acquire() for _ in range(CONNECTIONS)]
    async with store.reader() as session:
        reading = asyncio.create_task(session.get(TALLY, ("a",)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    for one in held:
        pool.release(one)
    with pytest.raises(ProgrammingError, match="ended while it waited for a connection"):
        await reading
    assert store.connections_in_use == 0
    await store.close()


async def test_of_lanes_that_are_gone_nothing_is_known(tmp_path: Path) -> None:
    """Somebody emptied the table by hand; the next start makes the rows anew."""
    store = SqliteViewStore(views_file(str(tmp_path / "shop.views.db")), StoreSettings())
    await store.open([TALLIES], store_id=STORE)
    await store.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)]), to=4, generation=1))
    async with store.reader() as session:
        assert await session.freshness("tallies") == Freshness(Checkpoint(4, 0, b"e4", 4000), 0, 1)
    with apsw.Connection(store.file.path) as owner:
        owner.execute("DELETE FROM projection_checkpoints")
    owner.close()
    async with store.reader() as session:
        assert await session.freshness("tallies") == Freshness(Checkpoint())
    assert await store.checkpoint("tallies") == Checkpoint()
    await store.close()


async def test_a_log_that_was_taken_away_is_said_by_who_reads_the_rows_beside_it(tmp_path: Path) -> None:
    """X2: and no connection is kept that was opened half-way."""
    events = SqliteEventStore(str(tmp_path / "shop.db"))
    await events.open()
    await events.inline.open([TALLIES], store_id=events.store_id)
    store = SqliteViewStore(views_file(str(tmp_path / "shop.views.db")), StoreSettings(), inline=events.inline)
    await store.open([ProjectionTables("shop", (STOCK,))], store_id=events.store_id)
    for path in tmp_path.glob("shop.db*"):  # noqa: ASYNC240 - of a test's own
        path.rename(path.with_suffix(f"{path.suffix}.away"))
    for _ in range(CONNECTIONS + 1):
        async with store.reader() as session:
            with pytest.raises(DiptychError, match=r"shop\.views\.db"):
                await session.get(STOCK, ("s", 1))
    assert store.connections_in_use == 0
    for path in tmp_path.glob("*.away"):  # noqa: ASYNC240 - of a test's own
        path.rename(path.with_suffix(""))
    async with store.reader() as session:
        assert await session.get(STOCK, ("s", 1)) is None
    await store.close()
    await events.close()
