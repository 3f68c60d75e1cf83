"""Rows sort, compare and page in SQLite as their values do in Python, whatever their type."""

import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from operator import eq, ge, gt, le, lt, ne
from random import Random
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AwareDatetime, Field

from diptych.errors import InvalidInputError, ProgrammingError
from diptych.read.conditions import total_orders
from diptych.read.models import Key, ReadModel, table_of
from diptych.read.pages import from_cursor
from diptych.read.read_models import ReadModels
from diptych.store.batches import LaneMove, ProjectionTables, RowChanges, ViewBatch
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.views import SqliteViewStore, temporary_view_store

pytestmark = pytest.mark.anyio

STORE = UUID("01890000-0000-7000-8000-000000000003")
WEST = timezone(timedelta(hours=-3))


class Level(IntEnum):
    LOW = -5
    HIGH = 7


class Letter(Enum):
    SMALL = "a"
    LARGE = "Z"
    UMLAUT = "ä"


class Sample(ReadModel):
    id: Annotated[UUID, Key]
    text: str
    number: int
    weight: float
    amount: Annotated[Decimal, Field(decimal_places=4)]
    is_open: bool
    at: AwareDatetime
    day: date
    other: UUID
    letter: Letter
    level: Level
    step: Literal[3, 1, 2]


VALUES: dict[str, list[Any]] = {
    "text": ["", "a", "A", "é", "\uffff", "\U0001f600", "a\x1fb", "a\x1e", "x" * 9000, "%_", "'", '"'],
    "number": [-(2**63), 2**63 - 1, 0, -1, 10, 9],
    "weight": [0.0, -0.0, 1e308, -1e308, 5e-324, float(2**53)],
    "amount": [
        Decimal("-922337203685477.5807"),
        Decimal("1E+3"),
        Decimal("0.0001"),
        Decimal("-0"),
        Decimal("999.9999"),
    ],
    "is_open": [True, False],
    "at": [
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime(1969, 12, 31, 22, tzinfo=WEST),
        datetime(1970, 1, 1, tzinfo=UTC),
    ],
    "day": [date.min, date.max, date(999, 12, 31), date(1000, 1, 1)],
    "other": [UUID(int=0), UUID(int=2**127), UUID(int=2**128 - 1), UUID(int=15 << 64)],
    "letter": list(Letter),
    "level": list(Level),
    "step": [1, 2, 3],
}
_RANDOM = Random(7)
ROWS = [
    Sample(id=UUID(int=_RANDOM.getrandbits(128)), **{name: _RANDOM.choice(among) for name, among in VALUES.items()})
    for _ in range(150)
]


def plain(name: str) -> Callable[[Sample], Any]:
    """What is compared: of an Enum its value."""
    return lambda row: getattr(getattr(row, name), "value", getattr(row, name))


@pytest.fixture
async def views() -> AsyncIterator[SqliteViewStore]:
    """A store with many ties."""
    store, table = temporary_view_store(StoreSettings()), table_of(Sample)
    await store.open([ProjectionTables("samples", (table,))], store_id=STORE)
    await store.commit(ViewBatch("samples", 1, [LaneMove(0, 0, 0)], 1, b"", 1, [RowChanges(table, ROWS)]))
    yield store
    await store.close()


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("sign", ["", "-"])
async def test_pages_come_in_python_s_order(views: SqliteViewStore, name: str, sign: str) -> None:
    read, seen, cursor = ReadModels(views), list[Sample](), None
    while not seen or cursor is not None:
        page = await read.page(Sample, order_by=sign + name, size=37, after=cursor)
        seen, cursor = [*seen, *page.items], page.next_cursor
    await read.close()
    assert seen == sorted(ROWS, key=lambda row: (plain(name)(row), row.id), reverse=bool(sign))


@pytest.mark.parametrize("name", VALUES)
async def test_filters_compare_as_python_does(views: SqliteViewStore, name: str) -> None:
    read = ReadModels(views)
    for value in VALUES[name]:
        bound = getattr(value, "value", value)
        for compare in (eq, ne, lt, le, gt, ge):
            found = await read.find(Sample, **{f"{name}__{compare.__name__}": value})
            assert {row.id for row in found} == {row.id for row in ROWS if compare(plain(name)(row), bound)}
    await read.close()


async def test_a_cursor_outlives_its_row(views: SqliteViewStore) -> None:
    """The rows that follow are the same, whoever is gone meanwhile."""
    read = ReadModels(views)
    first = await read.page(Sample, order_by=["-day", "text"], size=40)
    await read.close()
    gone = [(row.id,) for row in first.items]
    await views.commit(
        ViewBatch("samples", 1, [LaneMove(0, 0, 1)], 2, b"", 2, [RowChanges(table_of(Sample), (), gone)])
    )
    read = ReadModels(views)
    rest = await read.page(Sample, order_by=["-day", "text"], size=1000, after=first.next_cursor)
    assert rest.items == (await read.page(Sample, order_by=["-day", "text"], size=1000)).items
    assert len(rest.items) == len(ROWS) - 40
    await read.close()


async def test_a_query_that_is_no_text_is_refused(views: SqliteViewStore) -> None:
    read = ReadModels(views)
    with pytest.raises(ProgrammingError, match="The query cannot be run"):
        await read.sql(int, "SELECT '\ud800'")
    await read.close()


def cursor_at(number: Any) -> str:
    """A cursor as `-number, id` makes it, of a list whose digest is `list`."""
    return urlsafe_b64encode(json.dumps(["list", number, str(STORE)]).encode()).decode().rstrip("=")


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0])
def test_a_cursor_holds_every_number_that_a_column_can(number: int) -> None:
    found = from_cursor(cursor_at(number), "list", total_orders(table_of(Sample), "-number"))
    assert [bound.value for bound in found] == [number, STORE]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 1.5, True, "1", None, [1]])
def test_a_cursor_with_what_no_column_can_hold_is_refused_as_input_i1(number: Any) -> None:
    with pytest.raises(InvalidInputError):
        from_cursor(cursor_at(number), "list", total_orders(table_of(Sample), "-number"))
