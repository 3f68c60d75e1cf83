"""Declaring read models: what becomes a column, what is refused, and how rows are changed."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from typing import Annotated, Any, Literal, NewType, get_args
from uuid import UUID, uuid4

import pytest
from pydantic import AwareDatetime, BaseModel, Field, NaiveDatetime, ValidationError

from diptych.read.models import Index, Key, ReadModel, table_name, table_of
from diptych.store.tables import Kind

CustomerId = NewType("CustomerId", UUID)


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Line(BaseModel):
    product: str
    unit_price: Decimal


class Priced(BaseModel):
    unit_price: float


class Node(BaseModel):
    name: str
    children: "list[Node]" = []


class Mixed(Enum):
    ONE = 1
    TWO = "two"


class Flags(Flag):
    A = 1


class OrderRow(ReadModel):
    id: Annotated[UUID, Key]
    customer_id: Annotated[CustomerId, Index("created_at")]
    size: Size = Size.SMALL
    total_amount: Annotated[Decimal, Field(decimal_places=2)] = Decimal(0)
    deposit: Annotated[Decimal, Field(decimal_places=3)] | None = None
    exchange_rate: float = 1.0
    status: Literal["open", "closed"] = "open"
    lines: list[Line] = []
    created_at: AwareDatetime = datetime(2026, 1, 1, tzinfo=UTC)


def make(annotation: Any, name: str = "value") -> type[ReadModel]:
    """Declare a read model with one more field."""
    body = {"__annotations__": {"id": Annotated[UUID, Key], name: annotation}, "__module__": __name__}
    return type("Made", (ReadModel,), body)


def test_each_field_becomes_a_column() -> None:
    table = table_of(OrderRow)
    assert table.name == "order_row"
    assert table.key == ("id",)
    assert table.indexes == (("customer_id", "created_at"),)
    assert {column.name: column.kind for column in table.columns} == {
        "id": Kind.UUID,
        "customer_id": Kind.UUID,
        "size": Kind.INTEGER,
        "total_amount": Kind.DECIMAL,
        "deposit": Kind.DECIMAL,
        "exchange_rate": Kind.REAL,
        "status": Kind.TEXT,
        "lines": Kind.JSON,
        "created_at": Kind.DATETIME,
    }
    assert table.column("total_amount").scale == 2
    assert (table.column("deposit").scale, table.column("deposit").is_nullable) == (3, True)


def test_a_table_is_named_as_its_class_in_snake_case() -> None:
    names = {"HTTPRequestLog": "http_request_log", "OrderSummary": "order_summary", "Sales2026": "sales2026"}
    for name, expected in names.items():
        assert table_name(type(name, (ReadModel,), {"__module__": __name__})) == expected


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (bytes, "bytes cannot be a column"),
        (Any, "cannot be a column"),
        (set[int], "cannot be a column"),
        (int | str, "cannot be a column"),
        (int | str | None, "cannot be a column"),
        (timedelta, "timedelta cannot be a column"),
        (NaiveDatetime, "Use AwareDatetime"),
        (Mixed, "all be str, or all int"),
        (Literal["a", 1], "all be str, or all int"),
        (Flags, "a Flag cannot be a column"),
        (Annotated[Decimal, Field(decimal_places=19)], "between 0 and 18, not 19"),
        (Annotated[int, Index("absent")], "names no field"),
        (Annotated[int, Field(alias="other")], "takes no alias"),
        (Annotated[int | None, Key], "a key cannot be None"),
        (Annotated[int, Key("id")], "belongs on a projection's parameter"),
    ],
)
def test_what_has_no_exact_place_is_refused_when_the_class_is_made(annotation: Any, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        make(annotation)


@pytest.mark.parametrize(
    ("annotation", "scale"),
    [
        (Decimal, 6),
        (Annotated[Decimal, Field(ge=0)], 6),
        (Annotated[Decimal, Field(ge=0), Field(decimal_places=2)], 2),
        (Annotated[Decimal, Field(decimal_places=0)], 0),
        (Annotated[Decimal, Field(decimal_places=18)] | None, 18),
    ],
)
def test_a_decimal_has_as_many_places_as_its_field_says_or_six(annotation: Any, scale: int) -> None:
    column = table_of(make(annotation)).column("value")
    assert (column.kind, column.scale, column.is_nullable) == (Kind.DECIMAL, scale, type(None) in get_args(annotation))


def test_members_are_kept_as_their_values_and_literals_as_they_are() -> None:
    size = table_of(make(Size)).column("value")
    assert (size.kind, size.to_plain and size.to_plain(Size.LARGE), size.to_python and size.to_python(2)) == (
        Kind.INTEGER,
        2,
        Size.LARGE,
    )
    for annotation, kind in (
        (Literal["a", "b"], Kind.TEXT),
        (Literal[1, 2], Kind.INTEGER),
        (Literal[True], Kind.BOOLEAN),
    ):
        column = table_of(make(annotation)).column("value")
        assert (column.kind, column.to_plain, column.to_python) == (kind, None, None)


def test_a_nested_value_is_json_that_reads_back_as_it_was() -> None:
    class Aliased(BaseModel):
        price: Annotated[Decimal, Field(alias="p")]

    column = table_of(make(list[Aliased], "lines")).column("lines")
    assert column.to_plain is not None
    assert column.to_python is not None
    line = Aliased.model_validate({"p": "1.50"})
    text = column.to_plain([line])
    assert text == '[{"price":"1.50"}]'
    assert column.to_python(text) == [line]


def test_a_nested_model_may_hold_itself() -> None:
    assert table_of(make(Node)).column("value").kind is Kind.JSON


@pytest.mark.parametrize("name", ["unit_price", "total", "amount", "balance", "shipping_cost"])
@pytest.mark.parametrize("annotation", [float, float | None, list[float], dict[str, float]])
def test_money_is_never_a_float(name: str, annotation: Any) -> None:
    with pytest.raises(TypeError, match="money is never a float"):
        make(annotation, name)


def test_money_is_never_a_float_in_a_nested_model_either() -> None:
    with pytest.raises(TypeError, match="money is never a float"):
        make(list[Priced], "lines")


@pytest.mark.parametrize("name", ["weight", "price_ratio", "tax_rate", "latitude"])
def test_a_measure_may_be_a_float(name: str) -> None:
    assert table_of(make(float, name)).column(name).kind is Kind.REAL


def test_a_read_model_needs_a_key() -> None:
    with pytest.raises(TypeError, match="has no key"):
        type("Keyless", (ReadModel,), {"__annotations__": {"name": str}, "__module__": __name__})


def test_replace_is_a_reserved_name() -> None:
    with pytest.raises(TypeError, match="reserved by Diptych"):
        make(str, "replace")


def test_a_private_attribute_is_refused() -> None:
    with pytest.raises(TypeError, match="private attribute"):
        make(int, "_hidden")


def test_a_name_that_is_no_identifier_is_refused() -> None:
    """I3: names of tables and columns are plain."""
    for name in ("Upper", "x" * 49):
        with pytest.raises(TypeError, match="lower-case letters"):
            make(int, name)
    with pytest.raises(TypeError, match="lower-case letters"):
        type("X" * 60, (ReadModel,), {"__annotations__": {"id": Annotated[UUID, Key]}, "__module__": __name__})


def test_rows_are_frozen_and_replaced_strictly() -> None:
    row = OrderRow(id=uuid4(), customer_id=CustomerId(uuid4()))
    changed = row.replace(total_amount=row.total_amount + 2, size=Size.LARGE)
    assert (changed.total_amount, changed.size, row.total_amount) == (Decimal(2), Size.LARGE, Decimal(0))
    assert type(changed) is OrderRow
    with pytest.raises(ValidationError):
        row.size = Size.LARGE  # type: ignore[misc]
    for wrong in ({"total_amount": 1.5}, {"size": "1"}, {"absent": 1}, {"total_amount": Decimal("0.001")}):
        with pytest.raises(ValidationError):
            row.replace(**wrong)


def test_a_key_may_have_several_columns() -> None:
    class Daily(ReadModel):
        day: Annotated[date, Key]
        product: Annotated[str, Key, Index]
        sold: Annotated[int, Index] = 0

    table = table_of(Daily)
    assert table.key == ("day", "product")
    assert table.indexes == (("product",), ("sold",))


def test_built_rows_equal_validated_ones() -> None:
    row = OrderRow(id=uuid4(), customer_id=CustomerId(uuid4()))
    built = table_of(OrderRow).build(dict(row))
    assert built == row
    assert built.model_dump_json() == row.model_dump_json()
    assert built.replace(status="closed") == row.replace(status="closed")


@pytest.mark.parametrize("config", [{"frozen": False}, {"extra": "allow"}, {"use_enum_values": True}])
def test_a_configuration_that_would_lose_something_is_refused(config: Any) -> None:
    body = {"__annotations__": {"id": Annotated[UUID, Key]}, "__module__": __name__, "model_config": config}
    with pytest.raises(TypeError, match=f"{next(iter(config))}=.* does not go with rows"):
        type("Made", (ReadModel,), body)


def test_a_key_is_no_json() -> None:
    with pytest.raises(TypeError, match="cannot be a key"):
        make(Annotated[list[str], Key])


def test_a_name_that_sqlite_keeps_for_itself_is_refused() -> None:
    with pytest.raises(TypeError, match="begin with sqlite_"):
        type("SqliteThing", (ReadModel,), {"__annotations__": {"id": Annotated[UUID, Key]}, "__module__": __name__})


def test_what_a_nested_model_keeps_out_of_its_json_is_refused() -> None:
    class Secretive(BaseModel):
        name: str
        token: str = Field(default="", exclude=True)

    with pytest.raises(TypeError, match=r"Made\.value\.token: exclude=True .* would be lost"):
        make(list[Secretive])
