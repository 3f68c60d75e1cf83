"""How rows are told apart in memory: by the whole key, and alike whether it comes of a row, an event or a table."""

from typing import Annotated
from uuid import UUID

import pytest

from diptych.projections.keys import RowKeys, comparable
from diptych.read.models import Key, ReadModel, table_of
from diptych.store.sqlite.rows import schema
from diptych.store.tables import Kind

ONE = UUID("01890000-0000-7000-8000-00000000000a")


class ByNumber(ReadModel):
    number: Annotated[int, Key]
    name: str


class ById(ReadModel):
    id: Annotated[UUID, Key]
    tags: list[str]


class ByTwo(ReadModel):
    shop: Annotated[UUID, Key]
    product: Annotated[str, Key]


def test_a_key_of_one_column_is_its_value() -> None:
    keys = RowKeys(table_of(ByNumber))
    row = ByNumber(number=7, name="seven")
    assert keys.of_row(row) == keys.of_values((7,)) == 7
    assert keys.values(7) == (7,)
    assert keys.field is not None
    assert keys.field(row) == 7


def test_an_id_is_the_same_as_text_and_as_uuid() -> None:
    keys = RowKeys(table_of(ById))
    assert keys.of_row(ById(id=ONE, tags=[])) == keys.of_values((ONE,)) == str(ONE)
    assert keys.values(str(ONE)) == (ONE,)


def test_a_key_of_two_columns_is_both_of_them() -> None:
    """P1: rows that share the first one are not one row."""
    keys = RowKeys(table_of(ByTwo))
    ink, pen = ByTwo(shop=ONE, product="ink"), ByTwo(shop=ONE, product="pen")
    assert keys.of_row(ink) != keys.of_row(pen)
    assert keys.of_row(ink) == keys.of_values((ONE, "ink"))
    assert keys.values((str(ONE), "ink")) == (ONE, "ink")
    assert keys.field is None


def test_a_table_is_equal_to_a_table_of_its_shape_and_to_nothing_else() -> None:
    one, other = table_of(ByNumber), table_of(ById)
    assert one == table_of(ByNumber)
    assert one != other
    assert one != one.name
    assert {one: 1}.get(other) is None


def test_a_column_is_found_by_its_name_or_not_at_all() -> None:
    assert table_of(ById).column("tags").name == "tags"
    with pytest.raises(KeyError, match="colour"):
        table_of(ById).column("colour")


@pytest.mark.parametrize("kind", Kind)
def test_only_an_id_is_compared_as_its_text(kind: Kind) -> None:
    assert comparable(kind)(ONE) == (str(ONE) if kind is Kind.UUID else ONE)


def test_only_small_rows_under_other_keys_than_a_number_are_kept_in_the_index_itself() -> None:
    assert "WITHOUT ROWID" in schema(table_of(ByTwo))[0]
    assert "WITHOUT ROWID" not in schema(table_of(ByNumber))[0]
    assert "WITHOUT ROWID" not in schema(table_of(ById))[0]
    assert all("STRICT" in schema(table_of(each))[0] for each in (ByTwo, ByNumber, ById))
