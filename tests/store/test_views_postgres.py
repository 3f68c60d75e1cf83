"""The view store on PostgreSQL where it differs from a file: its guards, other processes, lost connections."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from random import Random

import asyncpg
import pytest

from diptych.errors import (
    AccessDeniedError,
    CheckpointMovedError,
    ConfigurationError,
    InvalidInputError,
    ProgrammingError,
    StoreUnavailableError,
    ValueDoesNotFitError,
)
from diptych.events.recorded import StoredEvent
from diptych.store.batches import Db, Load, ProjectionTables, RowChanges
from diptych.store.opening import open_stores
from diptych.store.postgres.connection import Database, database_of, open_connection
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.sql_text import numbered
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.protocols import StoreSettings
from diptych.store.tables import Table
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
    id_of,
)

pytestmark = pytest.mark.anyio

OUTSIDE = {
    "SELECT * FROM secrets": "may not read secrets",
    "SELECT * FROM tally WHERE name IN (SELECT name FROM secrets WHERE false)": "may not read secrets",
    "SELECT 1 FROM tally LEFT JOIN secrets USING (name)": "may not read secrets",
    "SELECT * FROM shown": "may not read",
    'SELECT * FROM public."apart"': "may not read public.apart",
    "SELECT * FROM projection_checkpoints": "may not read projection_checkpoints",
    "SELECT rolpassword FROM pg_authid": "may not read pg_",
    'SELECT * FROM "pg_class"': "may not read pg_",
    "SELECT * FROM U&\"pg!005fclass\" UESCAPE '!'": "may not read",
    "SELECT table_name FROM information_schema.tables": "may not read",
    "SELECT query_to_xml('SELECT * FROM secrets', true, true, '')": "may not read query_to_xml",
    "SELECT ARRAY[pg_read_file('/etc/passwd')]": "may not read pg_read_file",
    "SELECT set_config('transaction_read_only', 'off', true)": "may not read set_config",
    "SELECT * FROM tally FOR UPDATE": "may only SELECT",
    "SELECT * INTO copied FROM tally": "may only SELECT",
    "WITH gone AS (DELETE FROM tally RETURNING *) SELECT * FROM gone": "may only SELECT",
}

COLUMNS = {
    "id": "uuid",
    "name": "text",
    "count": "bigint",
    "is_open": "boolean",
    "weight": "double precision",
    "amount": "numeric(38,2)",
    "at": "timestamp with time zone",
    "day": "date",
    "paid": "numeric(38,4)",
}


@pytest.fixture(params=["postgres_url", "pooled_url"])
def database(request: pytest.FixtureRequest) -> Database:
    """A schema, at the server itself and behind PgBouncer."""
    return database_of(request.getfixturevalue(request.param))[0]


@pytest.fixture
async def views(database: Database) -> AsyncIterator[PostgresViewStore]:
    """An open store of two projections, with a row in each of two tables."""
    store = PostgresViewStore(database, StoreSettings(), query_seconds=0.5)
    await store.open([SHOP, TALLIES], store_id=STORE)
    await store.commit(batch(SHOP, RowChanges(STOCK, [Stock(shop="s", product=1, quantity=5)])))
    await store.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)])))
    yield store
    assert store.connections_in_use == 0
    await store.close()


@pytest.fixture
async def owner(database: Database) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Somebody else who is connected."""
    connection = await open_connection(database, {"search_path": database.schema})
    yield connection
    await connection.close()


@pytest.mark.parametrize(("sql", "why"), OUTSIDE.items())
async def test_the_read_side_reads_registered_tables_alone(
    views: PostgresViewStore, owner: "asyncpg.Connection[asyncpg.Record]", sql: str, why: str
) -> None:
    """R4: whatever way a statement takes to another table, PostgreSQL says that it does."""
    await owner.execute("CREATE TABLE secrets (name text); CREATE VIEW shown AS SELECT * FROM secrets")
    await owner.execute("CREATE TABLE IF NOT EXISTS public.apart (name text)")
    async with views.reader() as session:
        assert await session.fetch("SELECT total FROM tally", {}) == [(1,)]
        with pytest.raises(AccessDeniedError, match=why):
            await session.fetch(sql, {})
        assert await session.fetch("SELECT total FROM tally", {}) == [(1,)]


async def test_a_session_is_read_only_whatever_it_is_asked(
    views: PostgresViewStore, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """R4: what no lock betrays, a function that writes, the transaction itself refuses."""
    sneak = "FUNCTION {}sneak() RETURNS int LANGUAGE sql AS 'UPDATE tally SET total = 9 RETURNING 1'"
    await owner.execute(f"CREATE {sneak.format('')}; CREATE OR REPLACE {sneak.format('public.')}")
    async with views.reader() as session:
        with pytest.raises(AccessDeniedError, match=r"may not read sneak\(\)"):
            await session.fetch("SELECT sneak()", {})
    await owner.execute("DROP FUNCTION sneak()")
    async with views.reader() as session:
        with pytest.raises(AccessDeniedError, match="may only SELECT"):
            await session.fetch("SELECT public.sneak()", {})
        with pytest.raises(ProgrammingError, match="An earlier read failed"):
            await session.get(TALLY, ("a",))
    async with views.reader() as session:
        assert await session.get(TALLY, ("a",)) == Tally(name="a", total=1)


async def test_a_role_of_its_own_can_neither_write_nor_see_the_log(
    database: Database, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """R4, refused by the database itself: even a statement that nobody judged."""
    role = f"reader_of_{database.schema}"
    await owner.execute(f"CREATE ROLE {role}")
    store = PostgresViewStore(database, StoreSettings(reader=role))
    try:
        await store.open([SHOP, TALLIES], store_id=STORE)
        await store.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=1)])))
        await owner.execute("CREATE TABLE events (position bigint)")
        async with store.reader() as session:
            assert await session.get(TALLY, ("a",)) == Tally(name="a", total=1)
            assert (await session.freshness("tallies")).checkpoint.position == 1
        assert store._readers is not None
        pool = store._readers.pool
        for sql in (
            f"SELECT * FROM {database.schema}.events",
            f"DELETE FROM {database.schema}.tally__g2",
            f"DELETE FROM {database.schema}.tally",
            f"SELECT * FROM {database.schema}.view_store",
            f"CREATE TABLE {database.schema}.mine (a int)",
        ):
            with pytest.raises(AccessDeniedError):
                await _straight(pool, sql)
    finally:
        await store.close()
        await owner.execute(f"DROP OWNED BY {role}")
        await owner.execute(f"DROP ROLE {role}")


async def _straight(pool: Connections, sql: str) -> None:
    async with pool.connection() as connection:
        await connection.execute(sql)


async def test_a_role_that_is_not_there_stops_the_start(database: Database) -> None:
    store = PostgresViewStore(database, StoreSettings(reader="nobody_knows_it"))
    with pytest.raises(ConfigurationError, match="CREATE ROLE nobody_knows_it"):
        await store.open([TALLIES], store_id=STORE)
    await store.close()


async def test_a_row_of_an_unregistered_table_is_not_got(views: PostgresViewStore) -> None:
    await views.open([TALLIES], store_id=STORE)
    async with views.reader() as session:
        with pytest.raises(AccessDeniedError, match="may not read stock"):
            await session.get(STOCK, ("s", 1))


async def test_a_query_that_takes_too_long_is_stopped(views: PostgresViewStore) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    async with views.reader() as session:
        with pytest.raises(StoreUnavailableError, match="ran for too long"):
            await session.fetch(endless, {})
    async with views.reader() as session:
        assert await session.get(TALLY, ("a",)) is not None


async def test_a_read_that_is_cancelled_leaves_nothing_open(
    views: PostgresViewStore, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

    async def read() -> None:
        async with views.reader() as session:
            await session.fetch(endless, {})

    for _ in range(3):
        reading = [asyncio.create_task(read()) for _ in range(20)]
        await asyncio.sleep(0.05)
        for task in reading:
            task.cancel()
        outcomes = await asyncio.gather(*reading, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
        async with views.reader() as session:
            assert await session.get(TALLY, ("a",)) is not None
    await views.close()
    busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%RECURSIVE n%' AND pid <> pg_backend_pid()"
    assert await owner.fetchval(f"{busy} AND state <> 'idle'") == 0


async def test_the_first_to_read_finds_a_connection(views: PostgresViewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise ConnectionRefusedError("the server takes no more")

    monkeypatch.setattr("diptych.store.postgres.connections.open_connection", refused)
    async with views.reader() as session:
        assert await session.get(TALLY, ("a",)) == Tally(name="a", total=1)


async def test_a_connection_that_was_cut_is_replaced(
    views: PostgresViewStore, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """X2: a typed error, and the next one works."""
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND pid IN (SELECT pid "
    cut += "FROM pg_stat_activity WHERE application_name = 'diptych')"
    async with views.reader() as session:
        await session.get(TALLY, ("a",))
        await owner.execute(cut)
        with pytest.raises(StoreUnavailableError):
            await session.get(TALLY, ("a",))
    outcomes = []
    for position in range(1, 9):
        try:
            await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=2)]), at=1, to=2))
            outcomes.append(position)
            break
        except StoreUnavailableError:
            continue
    assert outcomes
    assert (await views.checkpoint("tallies")).position == 2
    async with views.reader() as session:
        assert await session.get(TALLY, ("a",)) == Tally(name="a", total=2)


async def test_of_many_writers_at_one_position_one_wins(database: Database, views: PostgresViewStore) -> None:
    """P1, P5: the checkpoint is compared and set by PostgreSQL."""
    others = [PostgresViewStore(database, StoreSettings()) for _ in range(3)]
    for each in others:
        await each.open([SHOP, TALLIES], store_id=STORE)
    for position in range(1, 6):
        writing = [
            each.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name="a", total=n)]), at=position, to=position + 1))
            for n, each in enumerate([views, *others])
        ]
        outcomes = await asyncio.gather(*writing, return_exceptions=True)
        assert [type(each) for each in outcomes if each is not None] == [CheckpointMovedError] * 3, outcomes
    for each in others:
        await each.close()


async def test_many_processes_may_open_at_once(database: Database) -> None:
    stores = [PostgresViewStore(database, StoreSettings()) for _ in range(6)]
    await asyncio.gather(*[store.open([SHOP, TALLIES], store_id=STORE) for store in stores])
    for store in stores:
        assert (await store.checkpoint("shop")).position == 0
        await store.close()


async def test_a_table_of_the_inline_store_is_not_taken_over(database: Database) -> None:
    inline = PostgresViewStore(database, StoreSettings())
    await inline.open([TALLIES], store_id=STORE)
    views = PostgresViewStore(database, StoreSettings(), inline=inline)
    with pytest.raises(ConfigurationError, match="belongs to projection tallies"):
        await views.open([ProjectionTables("second", (TALLY,))], store_id=STORE)
    await views.open([SHOP], store_id=STORE)
    async with views.reader() as session:
        assert await session.get(TALLY, ("a",)) is None
        assert (await session.freshness("tallies")).checkpoint.position == 0
    await views.close()
    await inline.close()


async def test_a_shop_may_have_stores_and_not_events(postgres_url: str) -> None:
    """The tables of the log are in the same schema; their names are those that few would give a read model."""
    stores = open_stores(postgres_url)
    await stores.events.open()
    store, events = (Table(name, TALLY.columns, TALLY.key, (), TALLY.build) for name in ("store", "events"))
    await stores.views.open([ProjectionTables("stores", (store,))], store_id=stores.events.store_id)
    with pytest.raises(ConfigurationError, match="the table events belongs to Diptych itself"):
        await stores.views.open([ProjectionTables("calendar", (events,))], store_id=stores.events.store_id)
    await stores.views.close()
    await stores.events.close()


async def test_a_key_that_no_index_takes_is_refused(views: PostgresViewStore) -> None:
    """PostgreSQL has no place for a key of 3,000 random characters; its batch is refused."""
    long = "".join(str(id_of(number)) for number in range(200))
    with pytest.raises(ValueDoesNotFitError, match="tally"):
        await views.commit(batch(TALLIES, RowChanges(TALLY, [Tally(name=long, total=1)]), at=1, to=2))
    assert (await views.checkpoint("tallies")).position == 1


class _Folding:
    """A projection that counts events, as an append folds it."""

    name = "tallies"

    def loads(self, events: Sequence[StoredEvent]) -> Sequence[Load]:
        return [Load(TALLY, ("name",), [("a",)])]

    def fold(self, events: Sequence[StoredEvent], rows: object) -> Sequence[RowChanges]:
        (row,) = rows["tally"]  # type: ignore[index]
        return [RowChanges(TALLY, [Tally(name="a", total=row.total + len(events))])]

    def script(self, events: Sequence[StoredEvent]) -> None:
        return None


def _event(position: int) -> StoredEvent:
    place = (position, "", "order", str(id_of(1)), position, b"e%d" % position)
    row = (*place, "Happened", 1, 0, "{}", "{}", position * 1000, 0)
    return StoredEvent(*row)


async def test_rows_are_folded_in_somebody_elses_transaction(
    views: PostgresViewStore, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """L7: they come and go with it."""
    await owner.execute("SET diptych_rows.writer = projection")
    for is_kept in (False, True):
        transaction = owner.transaction()
        await transaction.start()
        assert await views.fold_inline(owner, _Folding(), [_event(2), _event(3)], 1)
        assert not await views.fold_inline(owner, _Folding(), [_event(9)], 8)
        assert (await views.checkpoint("tallies")).position == 1
        await (transaction.commit() if is_kept else transaction.rollback())
    assert (await views.checkpoint("tallies"))[:3] == (3, 0, b"e3")
    async with views.reader() as session:
        assert await session.get(TALLY, ("a",)) == Tally(name="a", total=3)


@pytest.mark.parametrize(
    ("sql", "why"),
    {
        "UPDATE tally SET total = extract(epoch FROM now())": "now gives another answer",
        "UPDATE tally SET total = extract(epoch FROM timestamptz 'now')": "gives another answer",
        "UPDATE tally SET name = gen_random_uuid()::text": "gen_random_uuid gives another answer",
        "SELECT * FROM secrets": "secrets",
        "SELECT pg_sleep(1)": "may not read pg_sleep",
        "SELECT * INTO copied FROM tally": "tables come from read models",
        "TRUNCATE tally": "tables come from read models",
        "WITH gone AS (DELETE FROM stock RETURNING *) SELECT * FROM gone": "may not change stock",
    }.items(),
)
async def test_a_script_is_judged_before_it_is_run(views: PostgresViewStore, sql: str, why: str) -> None:
    async def script(db: Db) -> None:
        await db.execute(sql)

    with pytest.raises(ProgrammingError, match=why):
        await views.commit(batch(TALLIES, at=1, to=2, script=script))
    assert (await views.checkpoint("tallies")).position == 1


async def test_a_script_cannot_swallow_an_error_of_the_database(views: PostgresViewStore) -> None:
    """P2: its transaction is gone, so its checkpoint may not move."""

    async def script(db: Db) -> None:
        for sql in ("SELECT 1 / (total - total) FROM tally", "SELECT total FROM tally"):
            try:
                await db.rows(sql)
            except ProgrammingError:
                continue

    with pytest.raises(ProgrammingError, match="division by zero"):
        await views.commit(batch(TALLIES, at=1, to=2, script=script))
    assert (await views.checkpoint("tallies")).position == 1


async def test_a_script_reads_pythons_values(views: PostgresViewStore) -> None:
    row = every_kind(3)
    await views.commit(batch(SHOP, RowChanges(KINDS, [row]), at=1, to=2))

    async def script(db: Db) -> None:
        sql = "SELECT id, amount, at, day, is_open, sum(count) FROM every_kind WHERE id = :id OR :none IS NOT NULL "
        found = await db.rows(sql + "GROUP BY id", id=row.id, none=None)
        assert found == [(row.id, row.amount, row.at, row.day, row.is_open, row.count)]
        assert type(found[0][0]) is type(row.id)
        assert await db.rows("SELECT id FROM every_kind WHERE false") == []

    await views.commit(batch(SHOP, at=2, to=3, script=script))
    assert (await views.checkpoint("shop")).position == 3


async def test_who_is_connected_is_not_taken_for_a_table(views: PostgresViewStore) -> None:
    """`FROM user` would answer with one row, the name of the role, whatever the read model User has."""
    async with views.reader() as session:
        with pytest.raises(ProgrammingError, match='write "user"'):
            await session.fetch("SELECT count(*) FROM user", {})
        assert await session.fetch("SELECT 'user' AS \"user\" -- user", {}) == [("user",)]


async def test_a_commit_that_is_cancelled_anywhere_is_there_or_not(
    views: PostgresViewStore, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """P2: rows and checkpoint agree, and no transaction is left open."""
    random, position = Random(3), 1

    async def script(db: Db) -> None:
        await db.execute("UPDATE tally SET total = total WHERE name = 'b'")

    for round_ in range(60):
        rows = RowChanges(TALLY, [Tally(name="a", total=position + 1)])
        move = batch(TALLIES, rows, at=position, to=position + 1, script=script if round_ % 2 else None)
        writing = asyncio.create_task(views.commit(move))
        await asyncio.sleep(random.random() * 0.003 * (1 + round_ / 10))
        writing.cancel()
        with suppress(asyncio.CancelledError, CheckpointMovedError):  # the one before may have come through late
            await writing
        async with views.reader() as session:
            position = (await session.freshness("tallies")).checkpoint.position
            assert await session.get(TALLY, ("a",)) == Tally(name="a", total=position)
    await views.close()
    assert position > 1
    left = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND application_name = 'diptych'"
    assert await owner.fetchval(left) == 0


async def test_values_of_a_wrong_type_leave_the_session_usable(views: PostgresViewStore) -> None:
    async with views.reader() as session:
        for value in ("x", 2**70, object(), "\0"):
            with pytest.raises((ProgrammingError, InvalidInputError)):
                await session.fetch("SELECT name FROM tally WHERE total = :total", {"total": value})
        assert await session.fetch("SELECT name FROM tally WHERE total = :total", {"total": True}) == [("a",)]


async def test_columns_are_what_sql_calls_them(
    views: PostgresViewStore, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    found = await owner.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'every_kind'::regclass AND attnum > 0"
    )
    assert {name: kind for name, kind in found if name in COLUMNS} == COLUMNS


async def test_the_plans_of_loads_use_the_key(
    views: PostgresViewStore, owner: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A load of many keys never scans the table."""
    await owner.execute("SET diptych_rows.writer = projection")
    await owner.execute("INSERT INTO stock__g1 SELECT 's' || n % 100, n, n % 9 FROM generate_series(2, 20000) AS n")
    await owner.execute("ANALYZE stock__g1")
    for sql in (
        "SELECT one.* FROM stock__g1 AS one, unnest(ARRAY['s1', 's2'], ARRAY[1::bigint, 2]) AS wanted (shop, product) "
        "WHERE one.shop = wanted.shop AND one.product = wanted.product",
        "SELECT * FROM stock__g1 WHERE shop = ANY(ARRAY['s1', 's2']) AND product = 7",
    ):
        plan = "\n".join(row[0] for row in await owner.fetch(f"EXPLAIN {sql}"))
        assert "stock__g1_pkey" in plan
        assert "Seq Scan" not in plan


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT :b, :a, :b", ("SELECT $1, $2, $1", "b a")),
        ("SELECT a::text, '::x :y', \":z\" -- :c", ("SELECT a::text, '::x :y', \":z\" -- :c", "")),
        (
            "SELECT $$:a$$, $q$ :b $$ $q$, E'\\':c', :d /* :e */",
            ("SELECT $$:a$$, $q$ :b $$ $q$, E'\\':c', $1 /* :e */", "d"),
        ),
        ("SELECT :a IS NULL OR x = :a", ("SELECT $1::text IS NULL OR x = $2", "a a")),
        ("SELECT :a is not\nnull", ("SELECT $1::text is not\nnull", "a")),
    ],
)
def test_named_parameters_are_numbered(sql: str, expected: tuple[str, str]) -> None:
    found = numbered(sql)
    assert (found.sql, " ".join(each.name for each in found.parameters)) == expected
