"""Reading typed rows: filters, orders, pages, counts and hand-written SELECTs."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Annotated, Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, Field

from diptych.errors import (
    AccessDeniedError,
    InvalidInputError,
    ProgrammingError,
    ReadModelNotFoundError,
    ValueDoesNotFitError,
)
from diptych.read.conditions import after, conditions, orders, total_orders
from diptych.read.models import Index, Key, ReadModel, table_of
from diptych.read.pages import from_cursor, to_cursor
from diptych.read.read_models import ReadModels
from diptych.read.read_models import given as filters_given
from diptych.store.batches import LaneMove, ProjectionTables, RowChanges, ViewBatch
from diptych.store.postgres.connection import database_of
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.views import SqliteViewStore, temporary_view_store
from diptych.store.tables import Column, Kind

pytestmark = pytest.mark.anyio

STORE = UUID("01890000-0000-7000-8000-000000000002")
AnyStore = SqliteViewStore | PostgresViewStore
START = datetime(2026, 1, 1, tzinfo=UTC)
ADA, BOB = uuid5(STORE, "ada"), uuid5(STORE, "bob")


class SaleRow(ReadModel):
    id: Annotated[UUID, Key]
    customer_id: Annotated[UUID, Index("sold_at")]
    amount: Annotated[Decimal, Field(decimal_places=2)]
    sold_at: AwareDatetime
    note: str | None = None


class Unregistered(ReadModel):
    id: Annotated[UUID, Key]


class PerCustomer(BaseModel):
    customer_id: UUID
    amount: Decimal
    sales: int


@dataclass
class Latest:
    sold_at: datetime


ROWS = [
    SaleRow(
        id=uuid5(STORE, str(number)),
        customer_id=ADA if number % 3 else BOB,
        amount=Decimal(number) / 4,
        sold_at=START + timedelta(hours=number // 5),
        note=None if number % 2 else f"n{number}",
    )
    for number in range(100)
]
OF_ADA = [row for row in ROWS if row.customer_id == ADA]


def newest_first(rows: list[SaleRow]) -> list[SaleRow]:
    """Sort as `-sold_at` does, ties by descending id."""
    return sorted(rows, key=lambda row: (row.sold_at, str(row.id)), reverse=True)


@pytest.fixture(params=["sqlite", "postgres"])
async def views(request: pytest.FixtureRequest) -> AsyncIterator[AnyStore]:
    """A store with a hundred sales."""
    store: AnyStore = temporary_view_store(StoreSettings())
    if request.param == "postgres":
        store = PostgresViewStore(database_of(request.getfixturevalue("postgres_url"))[0], StoreSettings())
    table = table_of(SaleRow)
    await store.open([ProjectionTables("sales", (table,))], store_id=STORE)
    await store.commit(ViewBatch("sales", 1, [LaneMove(0, 0, 0)], 100, b"", 1, [RowChanges(table, ROWS)]))
    yield store
    assert store.connections_in_use == 0
    await store.close()


@pytest.fixture
async def read(views: AnyStore) -> AsyncIterator[ReadModels]:
    """What a query handler gets."""
    models = ReadModels(views)
    yield models
    await models.close()


async def test_a_row_is_got_by_its_key_or_not_at_all(read: ReadModels) -> None:
    assert await read.get(SaleRow, ROWS[7].id) == ROWS[7]
    assert await read.get(SaleRow, (ROWS[7].id,)) == ROWS[7]
    assert await read.get(SaleRow, ADA) is None
    assert await read.one(SaleRow, ROWS[8].id) == ROWS[8]
    with pytest.raises(ReadModelNotFoundError, match=f"There is no SaleRow with key {ADA}"):
        await read.one(SaleRow, ADA)


async def test_a_key_of_another_type_is_refused(read: ReadModels) -> None:
    with pytest.raises(ValueDoesNotFitError, match=r"sale_row\.id"):
        await read.get(SaleRow, "7")
    with pytest.raises(ValueDoesNotFitError, match=r"its key is \(id\)"):
        await read.get(SaleRow, (ADA, BOB))


async def test_rows_are_found_by_filters_that_all_hold(read: ReadModels) -> None:
    found = await read.find(SaleRow, customer_id=ADA, amount__ge=Decimal(5), amount__lt=Decimal("7.50"))
    assert len(found) == 7
    assert {row.id for row in found} == {row.id for row in OF_ADA if Decimal(5) <= row.amount < Decimal("7.5")}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"amount": Decimal("2.50")}, {10}),
        ({"amount__in": [Decimal(1), Decimal(2)]}, {4, 8}),
        ({"amount__in": []}, set()),
        ({"amount__in": [], "note": None}, set()),
        ({"amount__le": Decimal("0.5")}, {0, 1, 2}),
        ({"amount__gt": Decimal("24.25")}, {98, 99}),
        ({"note": None, "amount__lt": 1}, {1, 3}),
        ({"note__ne": None, "amount__lt": 1}, {0, 2}),
        ({"note__ne": "n0", "amount__lt": 1}, {2}),
        ({"sold_at__gt": START + timedelta(hours=18)}, {95, 96, 97, 98, 99}),
        (filters_given(note="n4", customer_id=None), {4}),
    ],
)
async def test_filters_mean_what_they_say(read: ReadModels, filters: dict[str, Any], expected: set[int]) -> None:
    assert {row.id for row in await read.find(SaleRow, **filters)} == {ROWS[n].id for n in expected}
    assert await read.count(SaleRow, **filters) == len(expected)


async def test_none_comes_before_every_value(read: ReadModels) -> None:
    rising = sorted(ROWS, key=lambda row: (row.note or "", row.amount))
    assert await read.find(SaleRow, order_by=["note", "amount"]) == rising
    falling = sorted(ROWS, key=lambda row: (row.note or "", row.amount), reverse=True)
    assert await read.find(SaleRow, order_by=["-note", "-amount"]) == falling


async def test_rows_come_in_the_order_asked_for(read: ReadModels) -> None:
    assert await read.find(SaleRow, order_by="-amount", limit=3) == ROWS[:-4:-1]
    found = await read.find(SaleRow, order_by=["customer_id", "-amount"])
    assert found == sorted(ROWS, key=lambda row: (str(row.customer_id), -row.amount))


@pytest.mark.parametrize(
    ("filters", "why"),
    [
        ({"custmer_id": ADA}, "Did you mean customer_id"),
        ({"order_by": "-solt_at"}, "Did you mean sold_at"),
        ({"xyz": 1}, "It has id, customer_id"),
        ({"amount__between": 1}, "no comparison amount__between"),
        ({"customer_id": None}, "matches no row"),
        ({"note__lt": None}, "matches no row"),
    ],
)
async def test_a_wrong_filter_is_refused_with_a_sentence(read: ReadModels, filters: dict[str, Any], why: str) -> None:
    with pytest.raises(ProgrammingError, match=why):
        await read.find(SaleRow, **filters)


def test_names_with_underscores_of_their_own_are_found() -> None:
    class Odd(ReadModel):
        id: Annotated[int, Key]
        a__b: int
        class_: int

    filters = {"a__b": 1, "a__b__ge": 1, "class_": 1, "class___lt": 1}
    text = conditions(table_of(Odd), filters).text
    assert text == ' WHERE "a__b" = :p0 AND "a__b" >= :p1 AND "class_" = :p2 AND "class_" < :p3'


def test_what_is_kept_as_json_is_neither_filtered_nor_ordered_by() -> None:
    class Tagged(ReadModel):
        id: Annotated[int, Key]
        tags: list[str]

    with pytest.raises(ProgrammingError, match=r"tagged\.tags is kept as JSON and cannot be filtered by"):
        conditions(table_of(Tagged), {"tags": ["a"]})
    with pytest.raises(ProgrammingError, match=r"tagged\.tags is kept as JSON, which has no order"):
        orders(table_of(Tagged), ["id", "-tags"])


def test_rows_after_another_are_those_that_are_greater_in_the_first_column_that_differs() -> None:
    table = table_of(SaleRow)
    assert after(orders(table, ["sold_at", "id"]), 0) == '("sold_at", "id") > (:c0, :c1)'
    assert after(orders(table, ["-sold_at", "-id"]), 3) == '("sold_at", "id") < (:c3, :c4)'
    mixed = after(orders(table, ["sold_at", "-amount", "id"]), 1)
    assert mixed == (
        '(("sold_at" > :c1) OR ("sold_at" = :c1 AND "amount" < :c2) '
        'OR ("sold_at" = :c1 AND "amount" = :c2 AND "id" > :c3))'
    )


def test_an_order_of_pages_is_completed_by_the_key_in_the_direction_of_its_last_column() -> None:
    table = table_of(SaleRow)
    for order_by, sql in (
        (None, ['"id" ASC']),
        ("-id", ['"id" DESC']),
        (["-amount", "sold_at"], ['"amount" DESC', '"sold_at" ASC', '"id" ASC']),
        (["sold_at", "-amount"], ['"sold_at" ASC', '"amount" DESC', '"id" DESC']),
    ):
        assert [each.sql for each in total_orders(table, order_by)] == sql


async def test_hostile_names_never_reach_the_database(read: ReadModels) -> None:
    """I3: identifiers come from the table."""
    with pytest.raises(ProgrammingError, match="has no column"):
        await read.find(SaleRow, order_by='id"; DROP TABLE sale_row; --')
    hostile: dict[str, Any] = {'id" OR 1=1 --': 1}
    with pytest.raises(ProgrammingError, match="has no column"):
        await read.find(SaleRow, **hostile)


async def test_pages_lead_through_the_whole_list_once(read: ReadModels) -> None:
    for order_by, expected in (
        ("-sold_at", newest_first(OF_ADA)),
        ("amount", OF_ADA),
        (["sold_at", "-amount"], sorted(OF_ADA, key=lambda row: (row.sold_at, -row.amount))),
    ):
        seen: list[SaleRow] = []
        cursor = None
        while True:
            page = await read.page(SaleRow, order_by=order_by, size=7, after=cursor, customer_id=ADA)
            seen += page.items
            cursor = page.next_cursor
            assert page.has_more == (cursor is not None)
            if cursor is None:
                break
        assert seen == expected


async def test_pages_may_be_asked_for_by_number(read: ReadModels) -> None:
    expected = newest_first(OF_ADA)
    second = await read.page(SaleRow, order_by="-sold_at", size=20, page=2, customer_id=ADA)
    assert second.items == expected[20:40]
    third = await read.page(SaleRow, order_by="-sold_at", size=20, after=second.next_cursor, customer_id=ADA)
    assert third.items == expected[40:60]
    for first in (await read.page(SaleRow, size=1), await read.page(SaleRow, size=99)):
        assert first.items == sorted(ROWS, key=lambda row: str(row.id))[: len(first.items)]
        assert (len(first.items) in (1, 99), first.has_more) == (True, True)
    for size in (100, 1000):
        whole = await read.page(SaleRow, size=size)
        assert (len(whole.items), whole.has_more, whole.next_cursor) == (100, False, None)
    assert (await read.page(SaleRow, page=10**9)).items == []
    beyond = await read.page(SaleRow, page=99)
    assert (beyond.items, beyond.has_more, beyond.next_cursor) == ([], False, None)


async def test_a_cursor_belongs_to_one_list(read: ReadModels) -> None:
    cursor = (await read.page(SaleRow, order_by="-sold_at", customer_id=ADA)).next_cursor
    assert cursor is not None
    others: list[dict[str, Any]] = [
        {"order_by": "-sold_at", "customer_id": BOB},
        {"order_by": "sold_at", "customer_id": ADA},
        {"order_by": "-sold_at"},
    ]
    for other in others:
        with pytest.raises(InvalidInputError, match="does not belong to this list"):
            await read.page(SaleRow, after=cursor, **other)


@pytest.mark.parametrize("cursor", ["", "%%%", "AAAA", "\ud800", "W10", "W" * 20_000, "bnVsbA"])
async def test_a_forged_cursor_is_refused(read: ReadModels, cursor: str) -> None:
    """I1: whatever is sent as a cursor gets a clear answer."""
    with pytest.raises(InvalidInputError, match="does not belong to this list"):
        await read.page(SaleRow, after=cursor)


async def test_a_cursor_with_forged_values_is_refused(read: ReadModels) -> None:
    cursor = (await read.page(SaleRow, order_by="-sold_at")).next_cursor
    assert cursor is not None
    digest, _, id = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    for values in (["x", id], [1, 2], [2**70, id], [1.5, id], [None, id], [1, "\0"], [1, "\ud800"], [[], id], [1]):
        forged = base64.urlsafe_b64encode(json.dumps([digest, *values]).encode()).decode()
        with pytest.raises(InvalidInputError, match="does not belong to this list"):
            await read.page(SaleRow, order_by="-sold_at", after=forged)


def test_a_cursor_may_be_long_but_not_endless() -> None:
    """I1: it carries values of its row, and costs memory before it is known whose it is."""
    order, digest = total_orders(table_of(SaleRow), "-sold_at"), "digest"
    whole = to_cursor(digest, order, ROWS[0])
    assert [bound.value for bound in from_cursor(whole, digest, order)] == [ROWS[0].sold_at, ROWS[0].id]
    for length, is_too_long in ((4_000_000, False), (4_000_001, True)):
        with pytest.raises(InvalidInputError) as caught:
            from_cursor("A" * length, digest, order)
        assert ("it is too long" in str(caught.value.__cause__)) is is_too_long


@given(st.text(max_size=200))
def test_no_text_as_a_cursor_causes_another_error(cursor: str) -> None:
    """I1: hostile input is an InvalidInputError, never a crash."""
    with pytest.raises(InvalidInputError):
        from_cursor(cursor, "digest", total_orders(table_of(SaleRow), "-sold_at"))


@pytest.mark.parametrize(
    "filters",
    [
        {"note": "a\0b"},
        {"note__in": ["\ud800"]},
        {"amount__ge": Decimal("0.00001")},
        {"amount": Decimal(10) ** 40},
        {"sold_at__lt": START.replace(tzinfo=None)},
    ],
)
async def test_a_filter_that_no_column_can_hold_is_refused_as_input(read: ReadModels, filters: dict[str, Any]) -> None:
    """I1: such values come from query strings, and are no fault of the service."""
    with pytest.raises(InvalidInputError):
        await read.find(SaleRow, **filters)
    with pytest.raises(InvalidInputError):
        await read.count(SaleRow, **filters)


@pytest.mark.parametrize("among", ["n1", [None], [None, "n1"]])
async def test_a_list_to_be_in_is_a_list_of_values(read: ReadModels, among: Any) -> None:
    """A text would be taken for its letters, and None is in no list for SQL."""
    with pytest.raises(ProgrammingError, match="note__in"):
        await read.find(SaleRow, note__in=among)


async def test_a_value_that_the_code_has_forgotten_is_named(read: ReadModels, views: AnyStore) -> None:
    class Colour(Enum):
        RED = "red"

    class Painted(ReadModel):
        id: Annotated[int, Key]
        colour: Colour

    table = table_of(Painted)
    await views.close()
    await views.open([ProjectionTables("painted", (table,))], store_id=STORE)
    plain = replace(table, columns=(table.columns[0], Column("colour", Kind.TEXT)))
    rows = [RowChanges(plain, [SimpleNamespace(id=1, colour="mauve")])]
    await views.commit(ViewBatch("painted", 2, [LaneMove(0, 0, 0)], 1, b"", 1, rows))
    async with views.reader() as session:
        with pytest.raises(ValueDoesNotFitError, match=r"painted\.colour: 'mauve' .* does not know this value"):
            await session.get(table, (1,))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"size": 0}, "A page has 1 to 1000 rows, not 0"),
        ({"size": 1001}, "A page has 1 to 1000 rows, not 1001"),
        ({"page": 0}, "there is no page 0"),
        ({"page": 10**9 + 1}, "there is no page 1000000001"),
        ({"page": 10**30}, "there is no page 1000"),
        ({"page": 2, "after": "x"}, "by its number or by a cursor, not by both"),
    ],
)
async def test_a_page_out_of_range_is_refused(read: ReadModels, wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        await read.page(SaleRow, **wrong)


async def test_pages_are_not_ordered_by_what_may_be_none(read: ReadModels) -> None:
    with pytest.raises(ProgrammingError, match="never None"):
        await read.page(SaleRow, order_by="note")


async def test_hand_written_selects_return_typed_rows(read: ReadModels) -> None:
    sql = (
        "SELECT customer_id, sum(amount) AS amount, count(*) AS sales FROM sale_row "
        "WHERE amount >= :amount GROUP BY customer_id ORDER BY customer_id"
    )
    found = await read.sql(PerCustomer, sql, amount=Decimal("12.50"))
    expected = [
        PerCustomer(customer_id=each, amount=sum((row.amount for row in rows), Decimal(0)), sales=len(rows))
        for each in sorted([ADA, BOB], key=str)
        if (rows := [row for row in ROWS if row.customer_id == each and row.amount >= Decimal("12.5")])
    ]
    assert found == expected
    assert read.tables == {"sale_row"}


async def test_results_may_be_rows_dataclasses_or_plain_values(read: ReadModels) -> None:
    assert await read.sql(SaleRow, "SELECT * FROM sale_row WHERE id = :id", id=ROWS[3].id) == [ROWS[3]]
    latest = await read.sql(
        Latest, "SELECT max(sold_at) AS sold_at FROM sale_row WHERE sold_at < :end", end=START + timedelta(hours=2)
    )
    assert latest == [Latest(START + timedelta(hours=1))]
    assert await read.sql(int, "SELECT count(*) FROM sale_row") == [100]
    assert await read.sql(Decimal, "SELECT amount FROM sale_row WHERE id = :id", id=ROWS[3].id) == [Decimal("0.75")]
    with pytest.raises(ValueDoesNotFitError, match="None does not fit"):
        await read.sql(Decimal, "SELECT sum(amount) AS amount FROM sale_row WHERE amount < 0")


@pytest.mark.parametrize("views", ["postgres"], indirect=True)
async def test_what_postgres_computes_keeps_its_type(read: ReadModels) -> None:
    """Its numbers and times say what they are, whatever they are named."""
    assert await read.sql(Decimal, "SELECT sum(amount) AS t FROM sale_row") == [sum(row.amount for row in ROWS)]
    assert await read.sql(datetime, "SELECT max(sold_at) AS t FROM sale_row") == [ROWS[-1].sold_at]
    assert await read.sql(Decimal, "SELECT avg(amount) AS amount FROM sale_row") == [Decimal("12.375")]
    assert await read.sql(int, "SELECT sum(length(note)) FROM sale_row") == [145]


@pytest.mark.parametrize("views", ["sqlite"], indirect=True)
async def test_a_number_of_unknown_scale_is_refused(read: ReadModels) -> None:
    """Money is never guessed: 1250 cents are not 1250."""
    for sql in ("SELECT sum(amount) AS t FROM sale_row", "SELECT max(sold_at) AS t FROM sale_row"):
        with pytest.raises(ProgrammingError, match="scale is not known"):
            await read.sql(Decimal if "amount" in sql else datetime, sql)
    with pytest.raises(ValueDoesNotFitError):
        await read.sql(Decimal, "SELECT avg(amount) AS amount FROM sale_row")


async def test_a_result_that_does_not_validate_names_its_field(read: ReadModels) -> None:
    with pytest.raises(ValueDoesNotFitError, match=r"PerCustomer\.sales"):
        await read.sql(PerCustomer, "SELECT customer_id, amount FROM sale_row")
    with pytest.raises(ProgrammingError, match="SELECT of one column"):
        await read.sql(int, "SELECT 1, 2")


async def test_a_read_model_without_projection_is_no_table(read: ReadModels) -> None:
    with pytest.raises((AccessDeniedError, ProgrammingError), match="unregistered"):
        await read.get(Unregistered, ADA)
    with pytest.raises((AccessDeniedError, ProgrammingError), match="unregistered"):
        await read.find(Unregistered)


async def test_a_handler_that_reads_nothing_opens_nothing(views: AnyStore) -> None:
    models = ReadModels(views)
    await models.close()
    assert (views.connections_in_use, models.tables) == (0, set())


async def test_a_handler_that_reads_one_row_needs_one_statement(views: AnyStore) -> None:
    """It is known afterwards whether a single row was all."""
    for reads in (1, 2):
        models = ReadModels(views, is_for_one=True)
        for row in ROWS[:reads]:
            assert await models.get(SaleRow, row.id) == row
        assert (await models.freshness("sales")).checkpoint.position == 100
        assert (models.is_for_one, views.connections_in_use) == ((True, 0) if reads == 1 else (False, 1)) or isinstance(
            views, SqliteViewStore
        )
        await models.close()


async def test_all_reads_are_of_one_snapshot(views: AnyStore, read: ReadModels) -> None:
    """R2: what was read first decides the moment."""
    assert await read.count(SaleRow) == 100
    await views.commit(
        ViewBatch("sales", 1, [LaneMove(0, 0, 100)], 101, b"", 2, [RowChanges(table_of(SaleRow), (), [(ROWS[0].id,)])])
    )
    assert await read.get(SaleRow, ROWS[0].id) == ROWS[0]
    assert (await read.freshness("sales")).checkpoint.position == 100
