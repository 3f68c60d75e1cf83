"""One program, two databases: rows, orders, pages and sums are the same on SQLite and on PostgreSQL."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from random import Random
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import AwareDatetime, BaseModel, Field

from diptych.read.models import Index, Key, ReadModel, table_of
from diptych.read.read_models import ReadModels
from diptych.store.batches import LaneMove, Load, ProjectionTables, RowChanges, ViewBatch
from diptych.store.postgres.connection import database_of
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.views import SqliteViewStore, temporary_view_store

pytestmark = pytest.mark.anyio

STORE = UUID("01890000-0000-7000-8000-000000000003")
COUNT = 300


class Colour(Enum):
    RED = "red"
    GREEN = "Green"
    NONE = ""


class Inner(BaseModel):
    text: str
    amount: Decimal


class Wide(ReadModel):
    """One column of each kind, with values at the ends of what fits."""

    id: Annotated[UUID, Key]
    name: Annotated[str, Key]
    text: Annotated[str, Index("at")]
    number: int
    real: float
    is_on: bool
    amount: Annotated[Decimal, Field(decimal_places=4)]
    whole: Annotated[Decimal, Field(decimal_places=0)]
    at: AwareDatetime
    day: date
    colour: Colour
    inner: list[Inner]
    by_name: dict[str, Any]
    maybe_text: str | None = None
    maybe_amount: Annotated[Decimal, Field(decimal_places=2)] | None = None
    maybe_at: AwareDatetime | None = None
    maybe_id: UUID | None = None


TABLE = table_of(Wide)
TEXTS = (
    "",
    "a",
    "B",
    "b",
    "Z",
    "_",
    "ä",
    "Ä",
    "é",
    "e\u0301",
    "ß",
    "\U0001f600",
    "a b",
    "a-b",
    "10",
    "9",
    "%",
    "\n",
    "z'\"",
)
TIMES = (
    datetime.min.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=2))),
    datetime(2026, 3, 29, 0, 30, 0, 1, tzinfo=UTC),
)
DAYS = (date.min, date.max, date(1970, 1, 1), date(2026, 2, 28))
NUMBERS = (0, 1, -1, 2**63 - 1, -(2**63), 2**31, 10**6)
REALS = (0.0, -1.5, 1e308, -1e-308, 0.1, 5e-324, 1e6)
WHOLES = (Decimal(0), Decimal(1_000_000), Decimal(-1), Decimal(2**63 - 1), Decimal(10_000))


def made_up(random: Random, number: int) -> Wide:
    """Return a row of values that have been trouble somewhere."""

    def perhaps(value: Any) -> Any:
        return value if random.random() < 0.6 else None

    def amount(places: int) -> Decimal:
        return Decimal(random.choice([0, 1, -1, 10**6, 2**62, random.randrange(-(10**9), 10**9)])).scaleb(-places)

    return Wide(
        id=UUID(int=random.choice([0, 1, 2**128 - 1, random.getrandbits(128)])),
        name=f"{random.choice(TEXTS)}:{number}",
        text=random.choice(TEXTS),
        number=random.choice(NUMBERS),
        real=random.choice(REALS),
        is_on=random.random() < 0.5,
        amount=amount(4),
        whole=random.choice(WHOLES),
        at=random.choice(TIMES),
        day=random.choice(DAYS),
        colour=random.choice(list(Colour)),
        inner=[Inner(text=random.choice(TEXTS), amount=amount(3))] * random.randrange(3),
        by_name={text: [number, None, 1.5, text] for text in random.sample(TEXTS, 3)},
        maybe_text=perhaps(random.choice(TEXTS)),
        maybe_amount=perhaps(amount(2)),
        maybe_at=perhaps(random.choice(TIMES)),
        maybe_id=perhaps(UUID(int=random.getrandbits(128))),
    )


ROWS = [made_up(Random(number), number) for number in range(COUNT)]


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[Sequence[ReadModels]]:
    """What reads the same rows of either store."""
    stores = (
        temporary_view_store(StoreSettings()),
        PostgresViewStore(database_of(postgres_url)[0], StoreSettings()),
    )
    for store in stores:
        await store.open([ProjectionTables("wide", (TABLE,))], store_id=STORE)
        await store.commit(ViewBatch("wide", 1, [LaneMove(0, 0, 0)], 9, b"", 1, [RowChanges(TABLE, ROWS)]))
    reading = [ReadModels(store) for store in stores]
    yield reading
    for each in reading:
        await each.close()
    for store in stores:
        await store.close()


def shown(rows: Sequence[Wide]) -> list[str]:
    """Return everything there is to see of rows."""
    return [repr(row) + row.model_dump_json() for row in rows]


async def test_rows_come_back_byte_for_byte(both: Sequence[ReadModels]) -> None:
    for row in ROWS[:50]:
        found = [await read.get(Wide, (row.id, row.name)) for read in both]
        assert found == [row, row]
        assert len({repr(each) for each in found}) == 1
        assert {type(each.id) for each in found if each is not None} == {UUID}
    first, second = [await read.find(Wide, order_by=["id", "name"]) for read in both]
    assert shown(first) == shown(second)
    assert {row.id: row for row in first} == {row.id: row for row in sorted(ROWS, key=lambda row: row.name)}


@pytest.mark.parametrize("sign", ["", "-"])
async def test_orders_are_the_same(both: Sequence[ReadModels], sign: str) -> None:
    """Texts by code point, None first, decimals and times by value."""
    for name in [each.name for each in TABLE.columns if each.name not in ("inner", "by_name")]:
        found = [await read.find(Wide, order_by=[sign + name, "id", "name"]) for read in both]
        assert shown(found[0]) == shown(found[1]), name
        values = [getattr(row, name) for row in found[0]]
        plain = [each.value if isinstance(each, Enum) else each for each in values if each is not None]
        assert plain == sorted(plain, reverse=sign == "-"), name
        nones = [None] * (COUNT - len(plain))
        assert [each for each in values if each is None] == nones
        assert values[: len(nones)] == nones if sign == "" else values[len(plain) :] == nones, name


async def test_filters_are_the_same(both: Sequence[ReadModels]) -> None:
    for row in ROWS[:10]:
        for column in TABLE.columns:
            value = getattr(row, column.name)
            if column.name in ("inner", "by_name") or value is None:
                continue
            for comparison in ("eq", "ne", "lt", "le", "gt", "ge"):
                counts = [await read.count(Wide, **{f"{column.name}__{comparison}": value}) for read in both]
                assert counts[0] == counts[1], (column.name, comparison, value)


async def test_a_cursor_of_one_store_leads_on_in_the_other(both: Sequence[ReadModels]) -> None:
    for order in ("text", "-at", "amount", ["-colour", "whole", "-real"], ["day", "is_on", "number"]):
        pages = [[], []]  # type: list[list[Wide]]
        cursor = None
        for number in range(COUNT // 20):
            found = [await read.page(Wide, order_by=order, size=20, after=cursor) for read in both]
            assert found[0].next_cursor == found[1].next_cursor
            cursor = found[number % 2].next_cursor
            for page, each in zip(pages, found, strict=True):
                page.extend(each.items)
        assert cursor is None
        assert shown(pages[0]) == shown(pages[1])
        assert len({(row.id, row.name) for row in pages[0]}) == COUNT


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM wide WHERE text >= :text ORDER BY text, id, name",
        "SELECT * FROM wide WHERE :maybe IS NULL OR maybe_text = :maybe ORDER BY name",
        "SELECT * FROM wide WHERE is_on = :is_on AND day > :day AND at <= :at ORDER BY name",
        "SELECT * FROM wide WHERE id <> :id AND amount > :amount ORDER BY name LIMIT :size",
        "WITH large AS (SELECT * FROM wide WHERE number > :number) SELECT * FROM large ORDER BY name -- :comment ';'",
    ],
)
async def test_hand_written_selects_are_the_same(both: Sequence[ReadModels], sql: str) -> None:
    given: dict[str, Any] = {
        "text": "a",
        "maybe": "b",
        "is_on": True,
        "day": DAYS[2],
        "at": TIMES[3],
        "id": ROWS[0].id,
        "amount": Decimal("1.5"),
        "size": 7,
        "number": 3,
    }
    for maybe in ("b", None):
        found = [await read.sql(Wide, sql, **{**given, "maybe": maybe}) for read in both]
        assert shown(found[0]) == shown(found[1])
        assert found[0]


async def test_sums_are_the_same(both: Sequence[ReadModels]) -> None:
    class Sums(BaseModel):
        colour: Colour
        amount: Decimal
        at: datetime
        rows: int

    sql = (
        "SELECT colour, sum(amount) AS amount, min(at) AS at, count(*) AS rows FROM wide "
        "WHERE amount > 0 AND amount < :amount GROUP BY colour ORDER BY colour"
    )
    found = [await read.sql(Sums, sql, amount=Decimal(10**6)) for read in both]
    assert repr(found[0]) == repr(found[1])
    assert len(found[0]) == len(Colour)


async def test_what_is_loaded_is_the_same(postgres_url: str) -> None:
    stores: list[SqliteViewStore | PostgresViewStore] = [
        temporary_view_store(StoreSettings()),
        PostgresViewStore(database_of(postgres_url)[0], StoreSettings()),
    ]
    found = []
    for store in stores:
        await store.open([ProjectionTables("wide", (TABLE,))], store_id=STORE)
        await store.commit(ViewBatch("wide", 1, [LaneMove(0, 0, 0)], 9, b"", 1, [RowChanges(TABLE, ROWS)]))
        loads = [
            Load(TABLE, ("id", "name"), [(row.id, row.name) for row in ROWS[:40]]),
            Load(TABLE, ("text",), [("ä",), ("",)]),
            Load(TABLE, ("at", "colour"), [(TIMES[0], Colour.RED), (TIMES[1], Colour.NONE)]),
        ]
        rows = (await store.load(1, loads))["wide"]
        found.append(sorted(json.dumps([repr(row)]) for row in rows))
        await store.close()
    assert found[0] == found[1]
    assert len(found[0]) == len(set(found[0])) > 40
