"""Generations on PostgreSQL where they differ from a file: what sessions know of swaps, locks, views for people."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from diptych.errors import AccessDeniedError, ConfigurationError, StoreUnavailableError, SwapRefusedError
from diptych.store.batches import LaneMove, ProjectionTables, RowChanges, ViewBatch
from diptych.store.generations import Generation
from diptych.store.leases import Worker
from diptych.store.postgres import live
from diptych.store.postgres.connection import Database, database_of, open_connection
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.protocols import StoreSettings
from diptych.store.tables import Column, Kind
from diptych.testing.contracts.view_rows import (
    KINDS,
    SHOP,
    STOCK,
    STORE,
    TALLIES,
    TALLY,
    Stock,
    Tally,
    batch,
    every_kind,
)

pytestmark = pytest.mark.anyio

NEWER = TALLIES._replace(version=2)


@pytest.fixture
def database(postgres_url: str) -> Database:
    return database_of(postgres_url)[0]


@pytest.fixture
async def stores(database: Database) -> AsyncIterator[Sequence[PostgresViewStore]]:
    """Two processes, as it were: generation 1 is of the shop, 2 of the tallies, with one row."""
    both = [PostgresViewStore(database, StoreSettings()) for _ in range(2)]
    for store in both:
        await store.open([SHOP, TALLIES], store_id=STORE)
    await both[0].commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)])))
    yield both
    assert [store.connections_in_use for store in both] == [0, 0]
    for store in both:
        await store.close()


@pytest.fixture
async def owner(database: Database) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Somebody else who is connected."""
    connection = await open_connection(database, {"search_path": database.schema})
    yield connection
    await connection.close()


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions do not look by themselves which generations are live."""
    monkeypatch.setattr(live, "_SECONDS", 3600.0)


async def built(store: PostgresViewStore, total: int, like: ProjectionTables = NEWER, at: int = 1) -> Generation:
    """Return a new generation with one row."""
    begun = await store.generations.begin(like)
    rows = RowChanges(like.tables[0], [Tally(name="a", total=total)])
    await store.commit(ViewBatch("tallies", begun.number, [LaneMove(0, 0, 0)], at, b"e", changes=[rows]))
    return begun


async def swapped(store: PostgresViewStore, total: int) -> Generation:
    """Return a generation that was built and is live now."""
    begun = await built(store, total)
    await store.generations.swap("tallies", begun.number)
    return begun


async def shown(owner: "asyncpg.Connection[asyncpg.Record]", sql: str) -> list[tuple[Any, ...]]:
    """Return what people see."""
    return [tuple(row) for row in await owner.fetch(sql)]


async def total_of(store: PostgresViewStore) -> Any:
    async with store.reader() as session:
        return (await session.fetch("SELECT total FROM tally", {}))[0][0]


@pytest.mark.usefixtures("unhurried")
async def test_freshness_is_of_the_rows_that_were_read_and_tells_of_a_swap(stores: Sequence[PostgresViewStore]) -> None:
    """R1: who waits for a position that only the new rows have sees that these are not they, and asks again."""
    first, second = stores
    assert await total_of(first) == 1
    begun = await built(second, 2, at=9)
    await second.generations.swap("tallies", begun.number)
    async with first.reader() as session:
        assert await session.get(TALLY, ("a",)) == Tally(name="a", total=1)
        freshness = await session.freshness("tallies")
        assert (freshness.generation, freshness.checkpoint.position) == (2, 1)
        assert await session.fetch("SELECT total FROM tally", {}) == [(1,)]
    async with first.reader() as session:
        assert await session.get(TALLY, ("a",)) == Tally(name="a", total=2)
        freshness = await session.freshness("tallies")
        assert (freshness.generation, freshness.checkpoint.position) == (begun.number, 9)


@pytest.mark.usefixtures("unhurried")
async def test_a_board_tells_sessions_of_a_swap(stores: Sequence[PostgresViewStore]) -> None:
    first, second = stores
    await swapped(second, 2)
    assert await total_of(first) == 1
    await first.leases.board()
    assert await total_of(first) == 2


async def test_a_session_looks_by_itself_after_a_while(
    stores: Sequence[PostgresViewStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that only reads hears of no swap, and nobody ever writes to what it would go on reading."""
    first, second = stores
    await swapped(second, 2)
    monkeypatch.setattr(live, "_SECONDS", 0.0)
    assert await total_of(first) == 2


@pytest.mark.usefixtures("unhurried")
async def test_who_finds_a_generation_dropped_reads_the_live_one(stores: Sequence[PostgresViewStore]) -> None:
    first, second = stores
    assert await total_of(first) == 1
    await swapped(second, 2)
    await second.generations.drop("tallies", 2)
    async with first.reader() as session:
        assert await session.get(TALLY, ("a",)) == Tally(name="a", total=2)
        assert (await session.freshness("tallies")).checkpoint.position == 1
    async with first.reader() as session:  # by a statement that was never judged
        assert await session.fetch("SELECT total, name FROM tally", {}) == [(2, "a")]


@pytest.mark.usefixtures("unhurried")
async def test_who_has_read_other_rows_before_is_told_to_try_again(stores: Sequence[PostgresViewStore]) -> None:
    """R2: one answer is of one snapshot, so the session cannot begin another."""
    first, second = stores
    await first.commit(batch(SHOP, RowChanges(STOCK, [Stock(shop="s", product=1, quantity=5)])))
    async with first.reader() as session:
        assert await session.get(STOCK, ("s", 1)) is not None
        await swapped(second, 2)
        await second.generations.drop("tallies", 2)
        with pytest.raises(StoreUnavailableError, match="Try again"):
            await session.fetch("SELECT total FROM tally", {})
    assert await total_of(first) == 2


async def test_nobody_waits_behind_a_drop_that_has_to_wait(stores: Sequence[PostgresViewStore]) -> None:
    first, second = stores
    await swapped(second, 2)
    async with second.reader() as session:
        await session.freshness("tallies")
        await second.generations.swap("tallies", 2)
    async with second.reader() as session:
        assert await session.fetch("SELECT total FROM tally", {}) == [(1,)]
        await second.generations.swap("tallies", 3)
        with pytest.raises(StoreUnavailableError, match="try again"):
            await first.generations.drop("tallies", 2)
        assert await session.get(TALLY, ("a",)) == Tally(name="a", total=1)
    async with asyncio.timeout(10):
        while len(await first.generations.all("tallies")) == 2:
            try:
                await first.generations.drop("tallies", 2)
            except StoreUnavailableError:  # the session's connection is brought in order
                continue
    assert await total_of(first) == 2


async def test_many_who_begin_at_once_begin_one_build(database: Database, stores: Sequence[PostgresViewStore]) -> None:
    begun = await asyncio.gather(*[store.generations.begin(NEWER) for store in stores for _ in range(3)])
    assert len({one.number for one in begun}) == 1
    assert [one.state for one in await stores[0].generations.all("tallies")] == ["live", "building"]


async def test_a_commit_is_one_statement_whatever_it_moves(stores: Sequence[PostgresViewStore]) -> None:
    """One round trip, and a beat is another. The first of a kind may ask for the kinds of its values."""
    store, sent = stores[0], list[str]()
    begun = await store.generations.begin(TALLIES._replace(lanes=16))
    rows = RowChanges(TALLY, [Tally(name="b", total=1)], [("a",)])
    for at in (0, 1):
        moves = [LaneMove(lane, 0, at) for lane in range(16)]
        await store.commit(ViewBatch("tallies", begun.number, moves, at + 1, b"e", changes=[rows]))
        await store.commit(batch(TALLIES, rows, at=at + 1, to=at + 2))
        await store.leases.beat(Worker("w", "here", frozenset({2})), 5)
        await asyncio.sleep(0)  # asyncpg tells of statements with the next turn of the loop
        assert len(sent) == (0 if at == 0 else 3), sent
        assert store._rows is not None
        async with store._rows.connection() as connection:
            connection.add_query_logger(lambda record: sent.append(record.query))


async def test_rows_are_grouped_by_their_key(stores: Sequence[PostgresViewStore]) -> None:
    """PostgreSQL knows by a table's key what else is one in a group, and so it does through a plain name."""
    store = stores[0]
    await store.commit(batch(SHOP, RowChanges(KINDS, [every_kind(1)])))
    sql = "SELECT k.id, k.name, count(*) FROM every_kind k LEFT JOIN tally ON true GROUP BY k.id"
    async with store.reader() as session:
        assert [row[2] for row in await session.fetch(sql, {})] == [1]
        assert await session.fetch("SELECT name, total FROM tally GROUP BY name", {}) == [("a", 1)]


async def test_a_table_is_not_read_by_its_schema(stores: Sequence[PostgresViewStore], database: Database) -> None:
    """That would be the view for people, which may be of another generation for a while."""
    async with stores[0].reader() as session:
        with pytest.raises(AccessDeniedError, match="Leave the schema out"):
            await session.fetch(f"SELECT * FROM {database.schema}.tally", {})


async def test_a_view_for_people_shows_what_is_live(
    stores: Sequence[PostgresViewStore], owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    store = stores[0]
    assert await shown(owner, "SELECT name, total FROM tally") == [("a", 1)]
    await swapped(store, 2)
    assert await shown(owner, "SELECT name, total FROM tally") == [("a", 2)]
    note = replace(TALLY, columns=(TALLY.columns[0], Column("note", Kind.TEXT, is_nullable=True)))
    other = await store.generations.begin(ProjectionTables("tallies", (note,), 3))
    await store.commit(ViewBatch("tallies", other.number, [LaneMove(0, 0, 0)], 1, b"e"))
    await store.generations.swap("tallies", other.number)
    assert await shown(owner, "SELECT name, note FROM tally") == []
    await store.generations.drop("tallies", 2)
    assert await shown(owner, "SELECT name, note FROM tally") == []


async def test_a_swap_does_not_wait_for_people_and_their_view_follows(
    stores: Sequence[PostgresViewStore], owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    store = stores[0]
    async with owner.transaction():
        assert await shown(owner, "SELECT total FROM tally") == [(1,)]
        await swapped(store, 2)
        assert await total_of(store) == 2
        assert await shown(owner, "SELECT total FROM tally") == [(1,)]
    await store.leases.beat(Worker("w", "here", frozenset()), 5)
    assert await shown(owner, "SELECT total FROM tally") == [(2,)]


async def test_what_people_made_of_a_view_keeps_its_rows_from_being_dropped(
    stores: Sequence[PostgresViewStore], owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    store = stores[0]
    await owner.execute("CREATE VIEW mine AS SELECT total FROM tally__g2")
    await swapped(store, 2)
    with pytest.raises(SwapRefusedError, match="somebody else's"):
        await store.generations.drop("tallies", 2)
    assert await shown(owner, "SELECT total FROM mine") == [(1,)]
    await owner.execute("DROP VIEW mine")
    await store.generations.drop("tallies", 2)
    assert [one.number for one in await store.generations.all("tallies")] == [3]


async def test_a_view_of_somebody_elses_is_not_replaced(
    database: Database, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await owner.execute(f"CREATE SCHEMA {database.schema}; CREATE TABLE things (a int)")
    await owner.execute("CREATE VIEW tally AS SELECT a FROM things")
    store = PostgresViewStore(database, StoreSettings())
    with pytest.raises(ConfigurationError, match="the table tally belongs to somebody else"):
        await store.open([TALLIES], store_id=STORE)
    await store.close()


async def test_json_is_compared_as_it_is_written(stores: Sequence[PostgresViewStore]) -> None:
    store = stores[0]
    begun = await store.generations.begin(SHOP._replace(version=2))
    await store.commit(batch(SHOP, RowChanges(KINDS, [every_kind(1), every_kind(2)])))
    rows = RowChanges(KINDS, [every_kind(1), every_kind(2, by_name={"a": 2, "b": 1})])
    await store.commit(ViewBatch("shop", begun.number, [LaneMove(0, 0, 0)], 1, b"e", changes=[rows]))
    compared = await store.generations.compare("shop", 1, begun.number)
    kinds, stock = compared.tables
    assert (kinds.table, kinds.rows, kinds.differing, stock.differing) == ("every_kind", (2, 2), 1, 0)
    (key, old, new) = kinds.samples[0]
    assert key == (every_kind(2).id,)
    assert old is not None
    assert new is not None
    assert {name for name in old if old[name] != new[name]} == {"by_name"}


async def test_a_column_that_became_another_is_compared_by_its_text(stores: Sequence[PostgresViewStore]) -> None:
    store = stores[0]
    text = replace(TALLY, columns=(TALLY.columns[0], Column("total", Kind.TEXT)))
    begun = await store.generations.begin(ProjectionTables("tallies", (text,), 2))
    await store.commit(ViewBatch("tallies", begun.number, [LaneMove(0, 0, 0)], 1, b"e1"))
    (table,) = (await store.generations.compare("tallies", 2, begun.number)).tables
    assert (table.rows, table.differing) == ((1, 0), 1)
    assert list(table.samples) == [(("a",), {"name": "a", "total": "1"}, None)]


async def test_tables_that_somebody_dropped_are_made_again(
    stores: Sequence[PostgresViewStore], owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    store = stores[0]
    await owner.execute("DROP TABLE tally__g2 CASCADE")
    await store.open([SHOP, TALLIES], store_id=STORE)
    assert [(one.number, one.state) for one in await store.generations.all("tallies")] == [(3, "live")]
    assert (await store.checkpoint("tallies")).position == 0
    assert await shown(owner, "SELECT total FROM tally") == []
