"""`replace` without the validator: it may say yes only where strict validation gives back the same object."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, Field, ValidationError, field_validator

from diptych.read.accepting import acceptances
from diptych.read.models import Index, Key, ReadModel


class Colour(Enum):
    RED = "red"


class Everything(ReadModel):
    id: Annotated[UUID, Key]
    name: Annotated[str, Index]
    short: Annotated[str, Field(max_length=3)]
    count: int
    is_there: bool
    weight: float
    price: Annotated[Decimal, Field(decimal_places=2)]
    bounded: Annotated[Decimal, Field(decimal_places=2, ge=0)]
    rate: Decimal
    day: date
    at: AwareDatetime
    colour: Colour
    note: str | None


ROW = Everything(
    id=UUID(int=1),
    name="a",
    short="a",
    count=1,
    is_there=True,
    weight=1.5,
    price=Decimal("1.50"),
    bounded=Decimal("1.50"),
    rate=Decimal("0.1"),
    day=date(2026, 1, 1),
    at=datetime(2026, 1, 1, tzinfo=UTC),
    colour=Colour.RED,
    note=None,
)
ACCEPTS = acceptances(Everything, (Key, Index))
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.decimals(),
    st.decimals(places=2, allow_nan=False),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
    st.uuids(),
    st.sampled_from(Colour),
)


@given(st.sampled_from(sorted(ACCEPTS)), values)
def test_what_is_accepted_is_what_the_validator_gives_back(name: str, value: Any) -> None:
    kind, check = ACCEPTS[name]
    if type(value) is kind and (check is None or check(value)):
        validated = Everything.__pydantic_validator__.validate_python({**ROW.__dict__, name: value}, strict=True)
        assert getattr(validated, name) is value
        assert ROW.replace(**{name: value}) == validated


@given(st.sampled_from(sorted(Everything.model_fields)), values)
def test_replace_refuses_what_the_validator_refuses(name: str, value: Any) -> None:
    try:
        validated = Everything.__pydantic_validator__.validate_python({**ROW.__dict__, name: value}, strict=True)
    except ValidationError:
        with pytest.raises(ValidationError):
            ROW.replace(**{name: value})
    else:
        assert ROW.replace(**{name: value}) == validated


def test_fields_with_rules_of_their_own_are_the_validators() -> None:
    assert {"short", "bounded"}.isdisjoint(ACCEPTS)
    assert {"id", "name", "price", "rate", "colour", "at"} <= set(ACCEPTS)


def test_a_model_with_validators_is_always_validated() -> None:
    class Picky(ReadModel):
        id: Annotated[UUID, Key]
        count: int

        @field_validator("count")
        @classmethod
        def even(cls, value: int) -> int:
            if value % 2:
                raise ValueError("it is odd")
            return value

    with pytest.raises(ValidationError, match="it is odd"):
        Picky(id=UUID(int=1), count=2).replace(count=3)


def test_a_replaced_row_is_as_complete_as_a_new_one() -> None:
    changed = ROW.replace(count=2)
    assert changed.model_dump() == {**ROW.model_dump(), "count": 2}
    assert changed.model_fields_set == ROW.model_fields_set
    assert ROW.count == 1


def test_what_a_row_has_worked_out_for_itself_does_not_go_into_the_next() -> None:
    class Doubled(ReadModel):
        id: Annotated[UUID, Key]
        count: int
        name: Annotated[str, Field(max_length=3)] = ""

        @cached_property
        def double(self) -> int:
            return self.count * 2

    row = Doubled(id=UUID(int=1), count=2)
    assert row.double == 4
    assert row.replace(count=3).double == 6
    assert row.replace(count=3, name="abc").double == 6


@pytest.mark.parametrize(
    ("name", "given_value", "text"),
    [
        ("price", Decimal("1.5"), "1.50"),
        ("price", Decimal("1.50"), "1.50"),
        ("price", Decimal("-1.50"), "-1.50"),
        ("price", Decimal("0.00"), "0.00"),
        ("price", Decimal("-0.00"), "0.00"),
        ("price", Decimal(0), "0.00"),
        ("price", Decimal("9E+49"), f"9{'0' * 49}.00"),
        ("price", Decimal("9E+50"), "9E+50"),  # too large for any column
        ("price", Decimal("-0"), "0.00"),
        ("price", Decimal("1E+3"), "1000.00"),
        ("bounded", Decimal(2), "2.00"),
        ("rate", Decimal("0.10"), "0.100000"),
        ("rate", Decimal("1E-7"), "1E-7"),  # too small for its column, which says so
        ("at", datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01 00:00:00+00:00"),
        ("at", datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2025-12-31 23:00:00+00:00"),
        ("at", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "0001-01-01 00:00:00+02:00"),
    ],
)
def test_a_new_row_has_its_values_as_a_store_gives_them_back(name: str, given_value: Any, text: str) -> None:
    """P1, P3: what a method makes of a row may not depend on whether the row was just made or read."""
    assert str(getattr(ROW.replace(**{name: given_value}), name)) == text
    made = Everything(**{**ROW.model_dump(), name: given_value})
    assert str(getattr(made, name)) == text
    assert getattr(made, name) == given_value


def test_a_value_that_may_be_absent_or_has_a_default_has_the_same_form() -> None:
    class Late(ReadModel):
        id: Annotated[UUID, Key]
        price: Annotated[Decimal, Field(decimal_places=2)] | None = None
        at: AwareDatetime | None

    paid = Late(id=UUID(int=1), price=Decimal("1.5"), at=datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    assert (str(paid.price), paid.at and paid.at.tzinfo) == ("1.50", UTC)
    assert Late(id=UUID(int=1), at=None).model_dump() == {"id": UUID(int=1), "price": None, "at": None}


def test_the_schema_shown_to_others_is_the_plain_one() -> None:
    shown = Everything.model_json_schema()["properties"]
    assert shown["at"] == {"format": "date-time", "title": "At", "type": "string"}
    assert "at" in Everything.model_json_schema()["required"]
