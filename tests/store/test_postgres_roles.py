"""The roles that `diptych db grants` prints, tried on a server: each may do its work, and nothing else (R4, L8)."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import pytest

from diptych.clock import new_id
from diptych.errors import AccessDeniedError
from diptych.read.models import Key, ReadModel, table_of
from diptych.store.batches import LaneMove, ProjectionTables, RowChanges, ViewBatch
from diptych.store.leases import Worker
from diptych.store.opening import Stores, open_stores
from diptych.store.postgres.roles import grants, roles_of
from diptych.store.upgrading import upgrade
from diptych.testing.contracts.events_samples import event, key, record, stream, to
from tests.postgres import Server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


class Sale(ReadModel):
    id: Annotated[UUID, Key]
    product: str


class Total(ReadModel):
    product: Annotated[str, Key]
    count: int


SALES = ProjectionTables("sales", [table_of(Sale)])
TOTALS = ProjectionTables("totals", [table_of(Total)])


class Schema:
    """A schema with its roles, and ways to try them."""

    def __init__(self, server: Server, url: str) -> None:
        self.server, self.url, self.name = server, url, url.rpartition("schema=")[2]

    def url_of(self, role: str) -> str:
        return self.url.replace("postgres@", f"{self.name}_{role}@", 1)

    def may(self, role: str, sql: str) -> bool:
        """Whether a role may run this; nothing of it stays."""
        try:
            who = f"SET LOCAL diptych_rows.writer = projection; SET LOCAL SESSION AUTHORIZATION {self.name}_{role}"
            self.server.query(f"BEGIN; {who}; {sql}; ROLLBACK")
        except RuntimeError as error:
            if "permission denied" in str(error) or "must be owner" in str(error):
                return False
            raise
        return True

    @asynccontextmanager
    async def opened(self, role: str, *projections: ProjectionTables, options: str = "") -> AsyncIterator[Stores]:
        stores = open_stores(self.url_of(role) + options)
        await stores.events.open()
        try:
            await stores.events.inline.open([], store_id=stores.events.store_id)
            await stores.views.open(projections, store_id=stores.events.store_id)
            yield stores
        finally:
            await stores.views.close()
            await stores.events.close()


@pytest.fixture
async def shop(postgres: Server, postgres_url: str) -> AsyncIterator[Schema]:
    """A schema that an administrator made, with an event, a row, and the roles."""
    schema = Schema(postgres, postgres_url)
    await upgrade(postgres_url, [SALES])
    script = grants(schema.name, roles_of(schema.name))
    postgres.query(script)
    postgres.query(script)  # a second time does no harm
    yield schema
    postgres.query(f"DROP SCHEMA {schema.name} CASCADE")
    for role in roles_of(schema.name):
        postgres.query(f"DROP OWNED BY {role}; DROP ROLE {role}")


def sold(position: int, event_id: bytes, product: str) -> ViewBatch:
    row = Sale(id=new_id(), product=product)
    return ViewBatch("sales", 1, [LaneMove(0, 0, 0)], position, event_id, changes=[RowChanges(table_of(Sale), [row])])


async def test_each_role_can_do_its_work(shop: Schema) -> None:
    async with shop.opened("writer", SALES) as stores:
        command = key()
        appended = await stores.events.append(to(stream(), event())._replace(command=record(command)))
        assert await stores.events.find_command(command) is not None
    async with shop.opened("projector", SALES) as stores:
        page = await stores.events.read_log(after=0)
        await stores.views.commit(sold(page.events[0].position, page.events[0].event_id, "pen"))
        assert (await stores.views.checkpoint("sales")).event_id == appended.event_id
    assert shop.may("reader", f"SELECT product FROM {shop.name}.sale")


async def test_the_reader_can_neither_write_nor_see_the_event_tables(shop: Schema) -> None:
    """R4, by trying every table there is."""
    tables = _tables(shop)
    visible = {table for table in tables if shop.may("reader", f"SELECT * FROM {shop.name}.{table}")}
    assert visible == {"sale__g1", "projection_checkpoints", "parked_events", "projections"}
    assert shop.may("reader", f"SELECT product FROM {shop.name}.sale")  # the view
    assert not shop.may("reader", f"DELETE FROM {shop.name}.sale")
    for table in tables:
        for sql in _changes(f"{shop.name}.{table}"):
            assert not shop.may("reader", sql), sql
    assert not shop.may("reader", f"CREATE TABLE {shop.name}.mine (a int)")
    assert not shop.may("reader", _call(shop))


async def test_the_projector_cannot_append(shop: Schema) -> None:
    async with shop.opened("projector", SALES) as stores:
        with pytest.raises(AccessDeniedError):
            await stores.events.append(to(stream(), event()))
    ours = {"sale__g1", "projection_checkpoints", "parked_events", "workers", "projection_requests", "alerts"}
    for table in {*_tables(shop)} - ours:
        for sql in _changes(f"{shop.name}.{table}"):
            assert not shop.may("projector", sql), sql
    assert not shop.may("projector", _call(shop))
    assert not shop.may("projector", f"DROP TABLE {shop.name}.sale__g1")
    assert not shop.may("projector", f"DELETE FROM {shop.name}.projection_requests")


async def test_the_writer_cannot_change_read_models_nor_drop_anything(shop: Schema) -> None:
    async with shop.opened("writer", SALES) as stores:
        with pytest.raises(AccessDeniedError):
            await stores.views.commit(sold(1, b"", "pen"))
    for table in ("sale__g1", "projection_checkpoints", "parked_events", "projection_generations", "view_store"):
        for sql in _changes(f"{shop.name}.{table}"):
            assert not shop.may("writer", sql), sql
    for table in _tables(shop):
        assert not shop.may("writer", f"DROP TABLE {shop.name}.{table}")
    for table in ("events", "event_types"):
        for sql in _changes(f"{shop.name}.{table}", inserts=False):
            assert not shop.may("writer", sql), sql
        assert not shop.may("writer", f"ALTER TABLE {shop.name}.{table} DISABLE TRIGGER ALL")
    assert not shop.may("writer", f"DROP SCHEMA {shop.name} CASCADE")
    assert not shop.may("writer", f"CREATE TABLE {shop.name}.mine (a int)")


async def test_the_owner_upgrades_and_its_new_tables_have_the_rights_of_the_others(shop: Schema) -> None:
    """Also where it may not create schemas; who is not the owner is told that it may not."""
    with pytest.raises(AccessDeniedError):
        await upgrade(shop.url_of("projector"), [SALES, TOTALS])
    await upgrade(shop.url_of("owner"), [SALES, TOTALS])
    for table, view in (("sale__g1", "sale"), ("total__g2", "total")):
        assert shop.may("reader", f"SELECT * FROM {shop.name}.{table}")
        assert shop.may("reader", f"SELECT * FROM {shop.name}.{view}")
        assert not shop.may("reader", f"DELETE FROM {shop.name}.{table}")
        assert shop.may("projector", f"DELETE FROM {shop.name}.{table}")
        assert not shop.may("writer", f"SELECT * FROM {shop.name}.{table}")
    async with shop.opened("projector", SALES, TOTALS) as stores:
        assert (await stores.views.checkpoint("totals")).position == 0


async def test_the_projector_works_on_and_swaps_what_the_owner_has_begun(shop: Schema) -> None:
    """A new build has the rights of the live one; the view for people is its owner's to change, and is later."""
    newer = SALES._replace(version=2)
    async with shop.opened("owner", SALES) as stores:
        built = await stores.views.generations.begin(newer)
    async with shop.opened("projector", newer) as stores:
        (held,) = await stores.views.leases.claim("w", "sales", built.number, [0])
        move, row = LaneMove(0, held.epoch, 0), Sale(id=new_id(), product="pen")
        changes = [RowChanges(table_of(Sale), [row])]
        await stores.views.commit(ViewBatch("sales", built.number, [move], 1, changes=changes))
        with pytest.raises(AccessDeniedError):
            await stores.views.generations.begin(newer._replace(version=3))
        await stores.views.leases.beat(Worker("w", "here", frozenset({built.number})), 5)
        (asked,) = await stores.views.leases.ask("sales", "retry")
        await stores.views.leases.settle(asked.id, "done")
        await stores.views.leases.pause("sales", None, reason="", by="")
        await stores.views.generations.swap("sales", built.number)
        with pytest.raises(AccessDeniedError):
            await stores.views.generations.drop("sales", 1)
    assert shop.may("reader", f"SELECT * FROM {shop.name}.sale__g{built.number}")
    shows = f"SELECT count(*) FROM {shop.name}.sale"
    assert shop.server.query(shows).split() == ["0"]
    async with shop.opened("owner", newer) as stores:
        assert shop.server.query(shows).split() == ["1"]
        await stores.views.generations.drop("sales", 1)


async def test_a_service_that_is_none_of_the_owner_reads_as_the_reader(shop: Schema) -> None:
    shop.server.query(f"GRANT {shop.name}_reader, {shop.name}_writer TO {shop.name}_projector")
    async with shop.opened("projector", SALES, options=f"&reader={shop.name}_reader") as stores:
        appended = await stores.events.append(to(stream(), event()))
        await stores.views.commit(sold(appended.position, appended.event_id, "pen"))
        async with stores.views.reader() as session:
            assert await session.fetch("SELECT product FROM sale", {}) == [("pen",)]


def _tables(shop: Schema) -> list[str]:
    return shop.server.query(f"SELECT tablename FROM pg_tables WHERE schemaname = '{shop.name}'").split()


def _changes(table: str, *, inserts: bool = True) -> Iterator[str]:
    column = f"(SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum = 1)"
    yield f"DELETE FROM {table}"
    yield f"TRUNCATE {table}"
    yield f"DO $$ BEGIN EXECUTE format('UPDATE {table} SET %I = DEFAULT', {column}); END $$"
    if inserts:
        yield f"INSERT INTO {table} DEFAULT VALUES"


def _call(shop: Schema) -> str:
    found: Any = shop.server.query(
        f"SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = '{shop.name}'::regnamespace "
        "AND p.proname = 'append_events'"
    )
    name, _, types = found.partition("(")
    return f"SELECT {name}({', '.join(f'NULL::{each}' for each in types.rstrip(')').split(','))})"
