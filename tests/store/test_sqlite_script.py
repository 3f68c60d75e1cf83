"""How parameters of hand-written SQL are bound, and what the tables of a projection may be called."""

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from diptych.errors import ProgrammingError, ValueDoesNotFitError
from diptych.store.sqlite.script import bindings
from diptych.store.tables import Bound, Column, Kind, Table


class Colour(Enum):
    RED = "red"


def table(*columns: Column) -> Table:
    return Table("sales", columns, (columns[0].name,), (), dict)


CENTS, MILLS = Column("amount", Kind.DECIMAL, scale=2), Column("rate", Kind.DECIMAL, scale=3)
OTHER_CENTS = Column("fee", Kind.DECIMAL, scale=2)
AT = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        (b"raw", b"raw"),
        ("text", "text"),
        (7, 7),
        (True, 1),
        (0.5, 0.5),
        (AT, 1_000_000),
        (date(2026, 1, 2), "2026-01-02"),
        (UUID(int=7), str(UUID(int=7))),
        (Colour.RED, "red"),
        (Bound(Column("rate", Kind.DECIMAL, scale=3), Decimal("1.5")), 1500),
    ],
)
def test_a_parameter_is_bound_as_a_column_of_its_type_keeps_it(value: Any, kept: Any) -> None:
    (bound,) = bindings({"it": value}, []).values()
    assert (bound, type(bound)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("name", "tables", "kept"),
    [
        ("amount", [table(CENTS, MILLS)], 150),
        ("rate", [table(CENTS, MILLS)], 1500),
        ("anything", [table(CENTS, OTHER_CENTS), table(OTHER_CENTS)], 150),
        ("rate", [table(CENTS), table(MILLS)], 1500),
    ],
)
def test_a_decimal_is_scaled_as_the_column_of_its_name_or_as_all_of_them(
    name: str, tables: list[Table], kept: int
) -> None:
    assert bindings({name: Decimal("1.5")}, tables) == {name: kept}


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("anything", [table(CENTS, MILLS)]),
        ("anything", []),
        ("name", [table(Column("name", Kind.TEXT))]),
        ("amount", [table(CENTS), table(CENTS._replace(scale=3))]),
    ],
)
def test_a_decimal_of_unknown_scale_is_refused(name: str, tables: list[Table]) -> None:
    """1.50 is 150 in one column and 1500 in another."""
    with pytest.raises(ProgrammingError, match=f":{name} = 1.5: decimals are kept scaled, .* several scales or none"):
        bindings({name: Decimal("1.5")}, tables)


def test_what_is_no_columns_type_is_refused() -> None:
    with pytest.raises(ProgrammingError, match=r":it cannot be bound: list is no column's type"):
        bindings({"it": [1]}, [])
    with pytest.raises(ValueDoesNotFitError, match="without zone"):
        bindings({"it": datetime(2026, 1, 1)}, [])
    with pytest.raises(ValueDoesNotFitError, match="keeps 2 decimal places"):
        bindings({"amount": Decimal("1.555")}, [table(CENTS)])
