"""How single values are kept in SQLite: exactly, and sorting as they do in Python."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.errors import InvalidInputError, ValueDoesNotFitError
from diptych.store.batches import Load
from diptych.store.generations import placed
from diptych.store.rows import RowCodec
from diptych.store.tables import Column, Kind, Table
from diptych.store.values import PLAIN, Form, asked_for
from diptych.testing.contracts.view_rows import STOCK, TALLY, Stock, Tally

AMOUNT = Column("amount", Kind.DECIMAL, scale=2)
AT = Column("at", Kind.DATETIME)


def back(column: Column, kept: Any) -> Any:
    """Return what a kept value is read as."""
    convert = PLAIN.decoder(column)
    return kept if convert is None else convert(kept)


cents = st.integers(-(2**63) + 1, 2**63 - 1).map(lambda n: Decimal(n).scaleb(-2))
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=zones)
EAST = timezone(timedelta(hours=14))


@given(cents)
def test_decimals_come_back_equal(value: Decimal) -> None:
    kept = PLAIN.encode(AMOUNT, value)
    assert type(kept) is int
    assert back(AMOUNT, kept) == value


@given(cents, cents)
def test_decimals_sort_as_they_do_in_python(first: Decimal, second: Decimal) -> None:
    assert (PLAIN.encode(AMOUNT, first) < PLAIN.encode(AMOUNT, second)) == (first < second)


@given(times)
def test_times_come_back_equal_in_utc(value: datetime) -> None:
    found = back(AT, PLAIN.encode(AT, value))
    assert found == value
    assert found.utcoffset() == timedelta(0)


@given(times, times)
def test_times_sort_as_they_do_in_python(first: datetime, second: datetime) -> None:
    assert (PLAIN.encode(AT, first) < PLAIN.encode(AT, second)) == (first < second)


@given(st.dates(), st.dates())
def test_dates_sort_as_they_do_in_python(first: date, second: date) -> None:
    column = Column("day", Kind.DATE)
    kept = PLAIN.encode(column, first), PLAIN.encode(column, second)
    assert (kept[0] < kept[1]) == (first < second)
    assert back(column, kept[0]) == first


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_texts_are_kept_as_they_are(value: str) -> None:
    assert PLAIN.encode(Column("name", Kind.TEXT), value) == value


@given(st.uuids(), st.uuids())
def test_ids_are_kept_as_their_text(first: Any, second: Any) -> None:
    column = Column("id", Kind.UUID)
    assert PLAIN.encode(column, first) == str(first)
    assert back(column, str(first)) == first
    assert (back(column, str(first)) == second) == (first == second)
    assert hash(back(column, str(first))) == hash(first)


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        (Kind.DECIMAL, Decimal("1.005"), "keeps 2 decimal places"),
        (Kind.DECIMAL, Decimal("1E+999999"), "no exact value"),
        (Kind.DECIMAL, Decimal(2**63), "beyond 64 bits"),
        (Kind.DECIMAL, Decimal("NaN"), "no exact value"),
        (Kind.DECIMAL, Decimal("Infinity"), "no exact value"),
        (Kind.DECIMAL, 0.5, "keeps decimal"),
        (Kind.DECIMAL, None, "never None"),
        (Kind.DATETIME, datetime(2026, 1, 1), "without zone"),
        (Kind.DATETIME, None, "keeps datetime"),
        (Kind.DATETIME, datetime(1, 1, 1, 13, tzinfo=EAST), "in UTC it is before the year 1"),
        (Kind.DATETIME, datetime(9999, 12, 31, 11, tzinfo=timezone(-timedelta(hours=13))), "after the year 9999"),
        (Kind.DATE, datetime(2026, 1, 1, tzinfo=UTC), "keeps date"),
        (Kind.INTEGER, 2**63, "beyond 64 bits"),
        (Kind.INTEGER, None, "keeps integer"),
        (Kind.INTEGER, 1.5, "keeps integer"),
        (Kind.INTEGER, Decimal("1.5"), "keeps integer"),
        (Kind.REAL, float("nan"), "not a number"),
        (Kind.BOOLEAN, 1, "keeps boolean"),
        (Kind.TEXT, "a\0b", "NUL"),
        (Kind.TEXT, "a\ud800", "surrogate"),
        (Kind.TEXT, None, "keeps text"),
        (Kind.UUID, "not an id", "keeps uuid"),
        (Kind.UUID, "20b0a8ff-0b43-4506-b9eb-f537ddb5b46f", "keeps uuid"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_a_sentence(kind: Kind, value: Any, why: str) -> None:
    with pytest.raises(ValueDoesNotFitError, match=why) as caught:
        PLAIN.encode(Column("field", kind, scale=2), value, "table")
    assert caught.value.column == "table.field"


TAGS = Column("tags", Kind.JSON, to_plain=json.dumps, to_python=json.loads)


@pytest.mark.parametrize("value", [[], ["a"], ["\\u0000"], [r"\\u0000"], {"a": [None]}, "é\u2028"])
def test_a_nested_value_comes_back(value: Any) -> None:
    """Also a text that only looks like the escape of a NUL."""
    assert back(TAGS, PLAIN.encode(TAGS, value)) == value


@pytest.mark.parametrize(("value", "why"), [(None, "keeps json, never None"), (["a\0"], "NUL"), ({"\0": 1}, "NUL")])
def test_a_nested_value_that_no_store_keeps_is_refused(value: Any, why: str) -> None:
    """I1"""
    with pytest.raises(ValueDoesNotFitError, match=why):
        PLAIN.encode(TAGS, value, "table")


@pytest.mark.parametrize(
    ("column", "first", "last", "beyond"),
    [
        (Column("n", Kind.INTEGER), -(2**63), 2**63 - 1, [-(2**63) - 1, 2**63]),
        (AMOUNT, -Decimal(2**63 - 1) / 100, Decimal(2**63 - 1) / 100, [Decimal(2**63) / 100, -Decimal(2**63) / 100]),
        (Column("d", Kind.DECIMAL, scale=0), -Decimal(10**18), Decimal(10**18), [Decimal(10**19), Decimal("1E+400")]),
    ],
)
def test_the_largest_and_the_smallest_number_come_back(
    column: Column, first: Any, last: Any, beyond: list[Any]
) -> None:
    for value in (first, last):
        assert back(column, PLAIN.encode(column, value)) == value
    for value in beyond:
        with pytest.raises(ValueDoesNotFitError, match="beyond 64 bits"):
            PLAIN.encode(column, value)


def test_whose_error_a_value_is_depends_on_its_type() -> None:
    """One of the right type that no column holds came from whoever asked; one of another type from the code."""
    for value, kind in (("a\0", InvalidInputError), (7, ValueDoesNotFitError)):
        with pytest.raises(ValueDoesNotFitError) as caught:
            PLAIN.encode(Column("field", Kind.TEXT), value)
        assert type(asked_for(caught.value)) is kind


def test_a_row_that_does_not_fit_names_the_column_or_that_it_changed_meanwhile() -> None:
    codec = RowCodec(placed(TALLY, 7), PLAIN)
    assert codec.encode(Tally(name="a", total=1)) == ["a", 1]
    with pytest.raises(ValueDoesNotFitError, match="keeps integer") as caught:
        codec.encode(SimpleNamespace(name="a", total="no number"))
    assert caught.value.column == "tally.total"
    moving = iter([TypeError("first"), 1, 1])

    def encoder(column: Column) -> Any:
        def convert(value: Any) -> Any:
            found = next(moving)
            if isinstance(found, Exception):
                raise found
            return found

        return convert

    changing = RowCodec(TALLY, cast(Form, SimpleNamespace(encoder=encoder, decoder=PLAIN.decoder, encode=lambda *_: 1)))
    with pytest.raises(ValueDoesNotFitError, match="it changed while it was written"):
        changing.encode(Tally(name="a", total=1))


def test_a_key_is_a_tuple_however_many_columns_it_has() -> None:
    assert RowCodec(TALLY, PLAIN).key_of(Tally(name="a", total=1)) == ("a",)
    assert RowCodec(STOCK, PLAIN).key_of(Stock(shop="s", product=7, quantity=1)) == ("s", 7)
    assert RowCodec(STOCK, PLAIN).encode_key(("s", 7)) == ("s", 7)
    with pytest.raises(ValueDoesNotFitError, match=r"its key is \(shop, product\)"):
        RowCodec(STOCK, PLAIN).encode_key(("s",))
    with pytest.raises(ValueDoesNotFitError, match="keeps integer") as caught:
        RowCodec(STOCK, PLAIN).encode_key(("s", "7"))
    assert caught.value.column == "stock.product"


def test_what_is_looked_for_is_looked_for_once() -> None:
    codec = RowCodec(STOCK, PLAIN)
    assert codec.wanted(Load(STOCK, ("shop", "product"), [("s", 7), ("t", 7), ("s", 7)])) == [("s", 7), ("t", 7)]
    with pytest.raises(ValueDoesNotFitError, match="keeps text"):
        codec.wanted(Load(STOCK, ("shop",), [("s",), (7,)]))


def test_a_value_that_the_code_does_not_know_any_more_is_named() -> None:
    codec = RowCodec(STOCK, PLAIN)
    assert codec.decode_distinct([("s", 7, 1), ("t", 7, 1), ("s", 7, 1)]) == [
        Stock(shop="s", product=7, quantity=1),
        Stock(shop="t", product=7, quantity=1),
    ]
    days = Table("days", (Column("day", Kind.DATE),), ("day",), (), dict)
    with pytest.raises(ValueDoesNotFitError, match=r"days\.day: 'soon' .* raise the projection's version"):
        RowCodec(days, PLAIN).decode(["soon"])


def test_the_first_and_the_last_moment_come_back() -> None:
    for value in (
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=EAST),
    ):
        assert back(AT, PLAIN.encode(AT, value)) == value


def test_none_is_kept_where_the_column_says_so() -> None:
    for kind in (Kind.DECIMAL, Kind.DATETIME, Kind.UUID, Kind.TEXT, Kind.BOOLEAN):
        column = Column("field", kind, is_nullable=True)
        assert PLAIN.encode(column, None) is None
        assert back(column, None) is None
