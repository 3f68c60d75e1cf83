"""The read models that the view store contracts keep: every kind of column, and two small ones."""

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

from pydantic import AwareDatetime, BaseModel, Field

from diptych.read.models import Index, Key, ReadModel, table_of
from diptych.store.batches import LaneMove, ProjectionTables, RowChanges, ViewBatch

STORE = UUID("01890000-0000-7000-8000-000000000001")


class Colour(Enum):
    """An enum of texts."""

    RED = "red"
    BLUE = "blue"


class Part(BaseModel):
    """A nested model, kept as JSON."""

    name: str
    price: Decimal


class EveryKind(ReadModel):
    """One column of each kind."""

    id: Annotated[UUID, Key]
    name: str
    count: int
    is_open: bool
    weight: float
    amount: Annotated[Decimal, Field(decimal_places=2)]
    at: AwareDatetime
    day: date
    colour: Colour
    level: Literal[1, 2, 3]
    parts: list[Part]
    by_name: dict[str, int]
    pair: tuple[int, str]
    note: str | None = None
    other: UUID | None = None
    paid: Annotated[Decimal, Field(decimal_places=4)] | None = None


class Stock(ReadModel):
    """A row with a key of two columns."""

    shop: Annotated[str, Key]
    product: Annotated[int, Key]
    quantity: Annotated[int, Index]


class Tally(ReadModel):
    """The smallest row."""

    name: Annotated[str, Key]
    total: int


KINDS, STOCK, TALLY = table_of(EveryKind), table_of(Stock), table_of(Tally)
SHOP = ProjectionTables("shop", (KINDS, STOCK))
TALLIES = ProjectionTables("tallies", (TALLY,))


def id_of(number: int) -> UUID:
    """Return the id of the n-th row."""
    return uuid5(STORE, str(number))


def every_kind(number: int = 1, **changes: Any) -> EveryKind:
    """Return the n-th row, changed."""
    values: dict[str, Any] = {
        "id": id_of(number),
        "name": f"größe {number} 'quoted'",
        "count": number,
        "is_open": number % 2 == 0,
        "weight": number / 8,
        "amount": Decimal(number) / 4,
        "at": datetime(2026, 1, 2, 3, 4, 5, number, tzinfo=UTC),
        "day": date(2026, 1, 1 + number % 28),
        "colour": Colour.BLUE,
        "level": 2,
        "parts": [Part(name="p", price=Decimal("0.10"))],
        "by_name": {"b": 1, "a": 2},
        "pair": (number, "x"),
    }
    return EveryKind(**{**values, **changes})


GENERATION = {"shop": 1, "tallies": 2}
"""The first generations in a new store that is opened with both, in this order."""


def batch(projection: ProjectionTables, *changes: RowChanges, at: int = 0, to: int = 1, **more: Any) -> ViewBatch:
    """Return a batch that moves the first generation of the projection from one position to another."""
    number = more.pop("generation", GENERATION[projection.name])
    return ViewBatch(projection.name, number, [LaneMove(0, 0, at)], to, b"e%d" % to, to * 1000, changes, **more)
