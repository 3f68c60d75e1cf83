"""The log in PostgreSQL: its schema, what damage is found, how it is read."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from diptych.errors import (
    AccessDeniedError,
    ConfigurationError,
    CorruptedEventError,
    OtherHistoryError,
    SkippedPositionsError,
    StoreCorruptedError,
    StoreNewerThanCodeError,
)
from diptych.store.batches import LaneMove, RowChanges, ViewBatch
from diptych.store.opening import open_stores
from diptych.store.postgres.changes import Changes
from diptych.store.postgres.connection import Connection, database_of
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.events import PostgresEventStore
from diptych.store.postgres.guard import Judge
from diptych.store.postgres.log import SETTINGS, Log
from diptych.store.postgres.migrations import migrations
from diptych.store.protocols import Append, StoreSettings, StreamWrite
from diptych.stream import ANY
from diptych.testing.contracts.events_samples import event, everything, key, record, stream, to
from diptych.testing.contracts.view_rows import TALLIES, TALLY, Tally
from tests.postgres import Server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
def store(postgres_url: str) -> PostgresEventStore:
    """A store, not yet open."""
    return PostgresEventStore(database_of(postgres_url)[0])


@pytest.fixture
async def opened(store: PostgresEventStore) -> AsyncIterator[PostgresEventStore]:
    """An open one."""
    await store.open()
    yield store
    await store.close()


CHANGES = [
    "UPDATE events SET payload = '{}'",
    "DELETE FROM events",
    "TRUNCATE events",
    "UPDATE streams SET version = version - 1",
    "UPDATE streams SET category = 'Other'",
    "DELETE FROM streams",
    "TRUNCATE streams CASCADE",
    "UPDATE event_types SET name = 'Other'",
    "DELETE FROM event_types",
    "TRUNCATE event_types",
]


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize("change", CHANGES)
async def test_what_is_stored_is_never_changed(opened: PostgresEventStore, owner: Any, change: str, role: str) -> None:
    """L8: not by the owner, not by a superuser, not where triggers are off for replication."""
    await opened.append(to(stream(), event(), event()))
    before = list(await everything(opened))
    await owner.execute(f"SET session_replication_role = {role}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await owner.execute(change)
    assert list(await everything(opened)) == before


async def test_many_who_open_a_new_schema_at_once_make_one_store(postgres_url: str) -> None:
    stores = [PostgresEventStore(database_of(postgres_url)[0]) for _ in range(5)]
    await asyncio.gather(*[each.open() for each in stores])
    assert len({each.store_id for each in stores}) == 1
    await asyncio.gather(*[each.append(to(stream(), event())) for each in stores])
    assert [each.position for each in await everything(stores[0])] == [1, 2, 3, 4, 5]
    for each in stores:
        await each.close()


async def test_a_newer_schema_is_refused_and_not_touched(store: PostgresEventStore, owner: Any) -> None:
    await store.open()
    await store.close()
    await owner.execute("INSERT INTO migrations VALUES ('events', 99)")
    with pytest.raises(StoreNewerThanCodeError, match="99"):
        await store.open()
    await store.close()


async def test_another_store_in_its_place_is_noticed(store: PostgresEventStore, owner: Any) -> None:
    """R3: a restored backup of something else."""
    await store.open()
    await store.close()
    await owner.execute("UPDATE event_store SET store_id = gen_random_uuid()")
    with pytest.raises(OtherHistoryError):
        await store.open()
    await store.close()


async def test_a_database_in_another_encoding_is_refused(postgres: Server) -> None:
    postgres.query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    url = postgres.url(schema="s").replace("/postgres?", "/latin?")
    store = PostgresEventStore(database_of(url)[0])
    with pytest.raises(ConfigurationError, match="UTF-8"):
        await store.open()
    await store.close()
    postgres.query("DROP DATABASE latin")


async def test_who_may_not_create_anything_can_still_open_what_is_there(
    store: PostgresEventStore, postgres_url: str, postgres: Server
) -> None:
    """A writer needs no right to change the schema."""
    schema = store.database.schema
    postgres.query("DROP ROLE IF EXISTS clerk; CREATE ROLE clerk LOGIN")
    clerk = PostgresEventStore(database_of(postgres_url.replace("//postgres@", "//clerk@"))[0])
    with pytest.raises(AccessDeniedError, match="permission denied"):
        await clerk.open()
    await clerk.close()
    await store.open()
    await store.close()
    postgres.query(
        f"GRANT USAGE ON SCHEMA {schema} TO clerk; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema} TO clerk;"
        f"GRANT UPDATE ON {schema}.streams TO clerk;"
        f"GRANT DELETE ON {schema}.commands TO clerk"
    )
    await clerk.open()
    appended = await clerk.append(Append([StreamWrite(stream(), ANY, [event()])], command=record(key())))
    assert appended.position == 1
    await clerk.close()
    postgres.query("DROP OWNED BY clerk; DROP ROLE clerk")


DAMAGE = [
    "UPDATE events SET payload = '{\"a\":2}' WHERE position = 2",
    "UPDATE events SET metadata = '{ }' WHERE position = 2",
    "UPDATE events SET recorded_at = recorded_at + 1 WHERE position = 2",
    "UPDATE events SET version = 7 WHERE position = 2",
    "UPDATE events SET tenant = 'acme' WHERE position = 2",
    "UPDATE events SET schema_version = 2 WHERE position = 2",
    "UPDATE events SET event_id = gen_random_uuid() WHERE position = 2",
    "UPDATE events SET checksum = 0 WHERE position = 2",
    "UPDATE events SET type = 77 WHERE position = 2",
    "UPDATE events SET stream = 77 WHERE position = 2",
]


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_row_is_found_and_named(opened: PostgresEventStore, owner: Any, damage: str) -> None:
    """X4"""
    for _ in range(3):
        await opened.append(to(stream(), event(a=1)))
    await owner.execute("ALTER TABLE events DISABLE TRIGGER ALL")
    await owner.execute(damage)
    for types in (None, frozenset({"Happened"})):
        if types is None or "type" not in damage:
            with pytest.raises(CorruptedEventError) as found:
                await opened.read_log(after=0, types=types)
            assert found.value.position == 2


async def test_a_number_of_a_type_is_read_again_where_it_means_another(
    store: PostgresEventStore, owner: Connection
) -> None:
    """X4: a restored backup, behind a pooler that keeps our connection, is no damage."""
    log, schema, name = Log(store.database.schema), store.database.schema, stream()
    for type in ("Happened", "Else"):
        await store.open()
        await store.append(to(name, event(type)))
        page = await log.page(owner, 0, None, 10)
        assert [row.type for row in page.events] == [type]
        await store.close()
        await owner.execute(f"DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}")
        store = PostgresEventStore(store.database)


async def test_missing_rows_are_noticed(opened: PostgresEventStore, owner: Any) -> None:
    """P4"""
    name = stream()
    for _ in range(4):
        await opened.append(to(name, event()))
    await owner.execute("ALTER TABLE events DISABLE TRIGGER ALL")
    await owner.execute("DELETE FROM events WHERE position = 3")
    with pytest.raises(SkippedPositionsError) as found:
        await opened.read_log(after=0)
    assert (found.value.after, found.value.found) == (2, 4)
    for slices in (range(512), range(512, 1024)):
        with pytest.raises(SkippedPositionsError) as found:
            await opened.read_slices(after=0, slices=slices)
        assert (found.value.after, found.value.found) == (2, 4)
    with pytest.raises(StoreCorruptedError, match="missing"):
        await opened.read_stream(name)
    await owner.execute("DELETE FROM events WHERE position = 4")
    with pytest.raises(StoreCorruptedError, match="missing"):
        await opened.read_stream(name, first=3)


async def test_reading_needs_no_sort_and_no_scan(opened: PostgresEventStore, postgres: Server) -> None:
    """Plans are kept, and must be right for a log that grew since; so they are made without looking at the tables."""
    _assert_good_plans(opened.database.schema, postgres)


@pytest.mark.slow
async def test_at_a_million_events_it_needs_none_either(opened: PostgresEventStore, postgres: Server) -> None:
    """Nor does what moves a checkpoint, whose session is set as the server is."""
    schema = opened.database.schema
    await opened.inline.open([], store_id=opened.store_id)
    postgres.query(_A_MILLION.replace("diptych.", f"{schema}."))
    _assert_good_plans(schema, postgres)
    moving = vars(Changes(opened.database, Judge(Connections(opened.database, size=1)), is_beside_log=True))
    for sql in (moving["_move"], moving["_move_all"]):
        plan = postgres.query(f"EXPLAIN (GENERIC_PLAN) {sql}")
        assert "Index Scan using events_pkey" in plan
        assert "Seq Scan on events" not in plan, plan
    assert (await opened.head()).position == 1_000_000


def _assert_good_plans(schema: str, postgres: Server) -> None:
    settings = "".join(f"SET {name} = '{value}';" for name, value in SETTINGS.items())
    for sql in [each for each in vars(Log(schema)).values() if isinstance(each, str)]:
        plan = postgres.query(f"{settings} EXPLAIN (GENERIC_PLAN) {sql}")
        assert "Index Scan" in plan or "Index Only Scan" in plan, plan
        for node in ("Sort", "Seq Scan", "Hash Join", "Merge Join"):
            assert f"{node} " not in plan, plan


_A_MILLION = """
INSERT INTO diptych.event_types (name) SELECT 'Kind ' || n FROM generate_series(1, 20) n;
INSERT INTO diptych.streams SELECT n, 10, gen_random_uuid(), 'order', '' FROM generate_series(1, 100000) n;
INSERT INTO diptych.events SELECT n, 1 + n % 100000, 1 + n / 100000, n, 0, gen_random_uuid(), 1, 0, 1 + n % 20, 0, '',
    '{}', '{}' FROM generate_series(1, 1000000) n;
ANALYZE diptych.event_types, diptych.streams, diptych.events;
"""


async def test_payloads_are_read_with_sql_and_kept_byte_for_byte(opened: PostgresEventStore, owner: Any) -> None:
    payload = '{"price" : 1.50,"n":1e2, "price":2.50,"name":"\\u00e9"}'
    await opened.append(to(stream(), event()._replace(payload=payload)))
    found = await owner.fetchrow("SELECT payload::text, payload->>'n', (payload->>'price')::numeric FROM events")
    assert tuple(found) == (payload, "1e2", Decimal("2.50"))


async def test_a_checksum_is_part_of_the_plan_that_needs_it(opened: PostgresEventStore, postgres: Server) -> None:
    """A function that is called for each row takes twice as long; PostgreSQL before 18 has to."""
    schema = opened.database.schema
    plan = postgres.query(f"EXPLAIN (VERBOSE) SELECT {schema}.checksum_of(tenant, 'x', 0) FROM {schema}.events")
    if postgres.query("SELECT to_regprocedure('pg_catalog.crc32(bytea)') IS NOT NULL") == "t":
        assert "crc32(" in plan
        assert "checksum_of" not in plan


async def test_forgotten_command_ids_leave_the_table(postgres_url: str, owner: Any) -> None:
    """C4: the window is a stated number, and the table stops growing."""
    store = PostgresEventStore(database_of(postgres_url)[0], StoreSettings(command_window_days=0))
    await store.open()
    for _ in range(4):
        await asyncio.gather(*[store.append(Append([], command=record(key()))) for _ in range(200)])
    await store.append(to(stream(), event()))
    assert await owner.fetchval("SELECT count(*) FROM commands") <= 400
    await store.close()


def test_every_name_in_the_schema_is_the_users() -> None:
    """No table or function is looked for on a search path."""
    for _, sql in migrations("events", "shop"):
        assert "diptych." not in sql
        assert sql.count('"shop".') > 40


async def test_a_schema_may_have_a_word_of_sql_for_its_name(postgres: Server) -> None:
    store, views, _ = open_stores(postgres.url(schema="order"))
    await store.open()
    try:
        await views.open([TALLIES], store_id=store.store_id)
        appended = await store.append(Append([StreamWrite(stream(), ANY, [event()])], command=record(key())))
        changes, place = [RowChanges(TALLY, [Tally(name="a", total=1)])], (appended.position, appended.event_id)
        await views.commit(ViewBatch("tallies", 1, [LaneMove(0, 0, 0)], *place, changes=changes))
        async with views.reader() as session:
            assert await session.get(TALLY, ("a",)) == Tally(name="a", total=1)
            assert await session.fetch("SELECT total FROM tally", {}) == [(1,)]
        assert await store.find_command(key()) is None
    finally:
        await views.close()
        await store.close()
        postgres.query('DROP SCHEMA "order" CASCADE')
