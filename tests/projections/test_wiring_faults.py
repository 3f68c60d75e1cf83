"""Every annotation that cannot work is a fault at the start, with its place: never an error at the first event."""

import typing
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest

from diptych.errors import ConfigurationError
from diptych.events.recorded import StoredMetadata
from diptych.handlers import on
from diptych.messages import DomainEvent, Metadata
from diptych.projections.definition import define
from diptych.projections.projection import Projection
from diptych.read.models import Key, ReadModel
from diptych.store.batches import Db
from tests.projections import shop, stringed
from tests.projections.shop import Added, Basket, Order, Placed, ProductSales


def faults(projection: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        define(projection)
    return str(caught.value)


def faults_of(member: Any) -> str:
    """What is said of a method, when its class is made or at the start."""
    with pytest.raises(ConfigurationError) as caught:
        define(having(member))
    return str(caught.value)


def having(member: Any) -> type[Projection[Basket]]:
    class Having(Projection[Basket]):
        method = member

    return Having


def returning(returns: Any) -> Callable[..., Any]:
    def method(self: Any, event: Placed, meta: Metadata) -> Any: ...

    method.__annotations__["return"] = returns
    return method


def keyword_only(self: Any, event: Placed, *, meta: Metadata) -> Basket: ...  # type: ignore[empty-body]
def two_events(self: Any, event: Placed, other: Added) -> Basket: ...  # type: ignore[empty-body]
def any_event(self: Any, event: DomainEvent) -> Basket: ...  # type: ignore[empty-body]
def no_event(self: Any, event: Placed | None) -> Basket: ...  # type: ignore[empty-body]
def misspelt(self: Any, event: "shop.Missing") -> Basket: ...  # type: ignore[empty-body, name-defined]
def yields(self: Any, event: Placed) -> Basket:  # type: ignore[misc]
    yield


def two_kinds(self: Any, event: Placed) -> Basket | ProductSales: ...  # type: ignore[empty-body]
def without_event(self: Any, meta: Metadata) -> Basket: ...  # type: ignore[empty-body]
def several_of_one(self: Any, row: Basket, event: Added) -> list[Basket]: ...  # type: ignore[empty-body]


async def asynchronous(self: Any, event: Placed) -> Iterator[Basket]:  # type: ignore[misc]
    yield  # type: ignore[misc]


def unreadable(self: Any, event: Any) -> Basket: ...  # type: ignore[empty-body]


unreadable.__annotations__["event"] = "Placed["


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (returning(typing.List), "which is no read model"),  # noqa: UP006
        (returning(tuple[()]), "which is no read model"),
        (returning(tuple[Basket, ProductSales]), "which is no read model"),
        (returning(dict[Basket, int]), "which is no read model"),
        (keyword_only, "it takes meta by keyword only"),
        (two_events, "parameter other is not one event"),
        (any_event, "parameter event is not one event"),
        (no_event, "parameter event is not one event"),
        (misspelt, "has no attribute 'Missing'"),
        (unreadable, "one of its annotations cannot be read"),
        (yields, "it yields rows and promises one"),
        (asynchronous, "it is async"),
        (two_kinds, "it returns more than one kind; write one method for each read model"),
        (without_event, "it takes no event; annotate one parameter with a DomainEvent class"),
        (several_of_one, "it takes one Basket and returns several, so which is the row it took?"),
    ],
)
def test_a_method_that_cannot_work_is_refused_with_its_place(method: Any, why: str) -> None:
    text = faults_of(on(method))
    assert why in text
    assert f"{Path(__file__).name}:{method.__code__.co_firstlineno}" in text


def of_row(self: Any, row: Basket, event: Added) -> Basket: ...  # type: ignore[empty-body]
def maybe_row(self: Any, row: Basket | None, event: Added) -> Basket: ...  # type: ignore[empty-body]
def no_row(self: Any, event: Added) -> Basket: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("method", "options", "why"),
    [
        (of_row, {"key": "id", "each": "total"}, "it says both key= and each=; keep one of the two"),
        (no_row, {"each": "id"}, "each= needs the row; take the row as a parameter, without `| None`"),
        (maybe_row, {"each": "id"}, "each= needs the row"),
        (of_row, {"each": "colour"}, "Basket has no column colour"),
        (of_row, {"each": "total"}, "the event has no field total, and the stream's id is a UUID"),
    ],
)
def test_each_that_cannot_work_is_refused(method: Any, options: dict[str, str], why: str) -> None:
    assert why in faults_of(on(**options)(method))  # type: ignore[call-overload]


def test_only_plain_methods_take_events() -> None:
    def method(self: Any, event: Placed) -> Basket: ...  # type: ignore[empty-body]

    for marked in (staticmethod(on(method)), classmethod(on(method)), on(partial(method))):
        assert "it is not a plain method" in faults(having(marked))


def test_a_look_up_has_to_say_its_field_unless_the_stream_is_the_key() -> None:
    class Bare(Projection[Order | ProductSales]):
        @on
        def placed(self, event: Placed, sales: Annotated[ProductSales | None, Key]) -> Order: ...  # type: ignore[empty-body]

    assert "the look-up sales says no field" in faults(Bare)


class Ranked(ReadModel):
    rank: Annotated[int, Key]
    id: UUID
    tags: list[str]


class Tagged(DomainEvent):
    tags: list[str]
    rank: str
    id: UUID


def test_a_key_has_the_type_of_its_column() -> None:
    class Wrong(Projection[Basket | ProductSales | Ranked]):
        @on(key="product")
        def by_text(self, row: Basket, event: Added) -> Basket: ...  # type: ignore[empty-body]

        @on(key="customer_id")
        def by_id(self, row: ProductSales, event: Placed) -> ProductSales: ...  # type: ignore[empty-body]

        @on(each="rank")
        def by_rank(self, row: Ranked, event: Tagged) -> Ranked: ...  # type: ignore[empty-body]

        @on(each="tags")
        def by_tags(self, row: Ranked, event: Tagged) -> Ranked: ...  # type: ignore[empty-body]

        @on
        def looked(self, event: Tagged, b: Annotated[Basket, Key("rank")]) -> list[ProductSales]: ...  # type: ignore[empty-body]

    text = faults(Wrong)
    assert "Added.product is text and id is uuid, never equal" in text
    assert "Placed.customer_id is uuid and product is text" in text
    assert "Tagged.rank is text and rank is integer" in text
    assert "tags is kept as JSON and is not compared" in text


class Colour(Enum):
    RED = "red"


class Word(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Painted(DomainEvent):
    text: str
    number: int
    amount: Decimal
    weight: float
    flag: bool
    colour: Colour
    word: Word
    level: Level
    odd: set[int]


def keyed(column: str, field: str) -> type[Projection[Any]]:
    """A projection whose row has a key of the type of one of these fields, and is found by another one."""
    annotation = Painted.model_fields[column].annotation

    class Keyed(ReadModel):
        __annotations__ = {"key": Annotated[annotation, Key], "total": int}

    def method(self: Any, row: Any, event: Painted) -> Any: ...

    method.__annotations__.update({"row": Keyed | None, "return": Keyed})

    class ByKey(Projection[Keyed]):
        painted = on(key=field)(method)

    return ByKey


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("text", "text"), ("text", "word"), ("number", "number"), ("number", "level"), ("number", "flag"),
        ("amount", "number"), ("amount", "amount"), ("weight", "number"), ("weight", "weight"), ("flag", "flag"),
        ("colour", "colour"), ("text", "odd"),
    ],
)  # fmt: skip
def test_a_field_finds_a_row_if_its_values_may_equal_the_key(column: str, field: str) -> None:
    """One that is no column's type is judged with each value."""
    assert define(keyed(column, field)).takes == {"Painted"}


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("text", "colour"), ("colour", "text"), ("colour", "number"), ("number", "text"), ("number", "amount"),
        ("number", "weight"), ("amount", "weight"), ("weight", "amount"), ("flag", "number"), ("text", "level"),
    ],
)  # fmt: skip
def test_a_field_that_never_equals_the_key_is_refused(column: str, field: str) -> None:
    assert f"Painted.{field} is " in faults(keyed(column, field))
    assert "never equal; name a field of the same type" in faults(keyed(column, field))


@pytest.mark.parametrize("returns", [list[Basket], tuple[Basket, ...], tuple[Basket, Basket], Iterator[Basket]])
def test_several_rows_are_promised_by_whatever_holds_only_them(returns: Any) -> None:
    handler = define(having(on(returning(returns)))).handlers["Placed"][0]
    assert (handler.is_sequence, handler.model) == (True, Basket)


def test_each_compares_any_column_with_a_field_that_every_event_has() -> None:
    def method(self: Any, row: shop.ProductSales, event: Added) -> shop.ProductSales: ...  # type: ignore[empty-body]

    class Each(Projection[ProductSales]):
        sold = on(each="product")(method)

    each = define(Each).handlers["Added"][0].each
    assert each is not None
    (stored,) = shop.stored([(shop.order("1"), shop.added("ink"))])
    assert each.find(stored, shop.added("ink"), None) == "ink"


def test_a_key_names_one_field_for_each_of_its_columns() -> None:
    class Wrong(Projection[ProductSales]):
        @on(key=("product", "quantity"))
        def sold(self, row: ProductSales | None, event: Added) -> ProductSales: ...  # type: ignore[empty-body]

    assert "the key of product_sales is (product), not (product, quantity)" in faults(Wrong)


def test_rows_that_have_their_own_keys_are_not_found_by_another() -> None:
    class Wrong(Projection[ProductSales]):
        @on(key="product")
        def sold(self, event: Added) -> list[ProductSales]: ...  # type: ignore[empty-body]

    assert "it returns several rows, each with its own key; leave out key=" in faults(Wrong)


def test_a_key_function_takes_event_and_metadata() -> None:
    class Wrong(Projection[Basket]):
        @on(key=lambda: 1)
        def placed(self, row: Basket, event: Placed) -> Basket: ...  # type: ignore[empty-body]

    assert "its key function does not take (event, meta)" in faults(Wrong)


def test_each_looks_at_the_field_of_those_events_that_have_it() -> None:
    """Else at the stream's id, event by event."""

    class Both(Projection[Order]):
        @on(each="customer_id")
        def touched(self, row: Order, event: Placed | shop.Renamed) -> Order: ...  # type: ignore[empty-body]

    each = define(Both).handlers["Placed"][0].each
    assert each is not None
    placed, renamed = shop.stored([(shop.order("1"), shop.placed()), (shop.customer("bob"), shop.Renamed(name="B"))])
    assert each.find(placed, shop.placed(), StoredMetadata(placed)) == str(shop.customer("ada").id)
    assert each.find(renamed, shop.Renamed(name="B"), None) == str(shop.customer("bob").id)


def test_own_sql_takes_two_named_parameters() -> None:
    class Greedy(Projection[Basket]):
        async def handle(self, *both: Any, **more: Any) -> None: ...

    class Positional(Projection[Basket]):
        async def handle(self, event: Placed, /, db: Db) -> None: ...

    class Misspelt(Projection[Basket]):
        async def handle(self, event: "shop.Missing", db: Db) -> None: ...  # type: ignore[name-defined]

    class Numbers(Projection[Basket]):
        async def handle(self, event: Placed | int, db: Db) -> None: ...

    assert "int is not an event; annotate `event` with DomainEvent classes, joined by |" in faults(Numbers)
    assert "it must take an event and a db" in faults(Greedy)
    assert "it must take an event and a db" in faults(Positional)
    assert "has no attribute 'Missing'" in faults(Misspelt)


def test_a_projection_that_cannot_be_made_is_a_fault() -> None:
    class Broken(Projection[Basket]):
        def __init__(self) -> None:
            raise KeyError("x")

        method = on(of_row)

    assert "it cannot be made without arguments" in faults(Broken)
    assert "this is not a projection" in faults(5)


def test_two_read_models_of_one_projection_have_two_tables() -> None:
    first = Basket

    def second() -> type[ReadModel]:
        class Basket(ReadModel):
            id: Annotated[UUID, Key]

        return Basket

    class Wrong(Projection[first | second()]):  # type: ignore[misc]
        method = on(returning(first))

    assert "two of its read models have the table basket" in faults(Wrong)


@pytest.mark.parametrize("version", ["2", 2.0, True, 0, -1, 2**31])
def test_a_version_is_a_whole_number_from_one_on_that_every_store_can_keep(version: Any) -> None:
    with pytest.raises(TypeError, match=f"version={version!r}; a projection's version is a whole number from 1 on"):

        class Wrong(Projection[Basket], version=version): ...


@pytest.mark.parametrize("version", [1, 2**31 - 1])
def test_the_first_and_the_last_version_are_versions(version: int) -> None:
    class Right(Projection[Basket], version=version):
        method = on(of_row)

    assert define(Right).tables.version == version


def test_a_name_that_no_store_can_keep_is_refused_with_the_place_to_choose_another() -> None:
    class Wrong(Projection[Basket], name="Baskets Of Today"):
        method = on(of_row)

    text = faults(Wrong)
    assert "The projection name 'Baskets Of Today': use lower-case letters" in text
    assert 'say `class ...(Projection[...], name="...")`' in text


def test_a_read_model_that_can_be_no_table_is_refused_with_its_projection() -> None:
    class Empty(ReadModel): ...

    class Wrong(Projection[Empty]):
        method = on(returning(Empty))

    assert "Empty cannot be a table; Empty has no key. Mark the field" in faults(Wrong)


def test_annotations_may_be_strings() -> None:
    """What `from __future__ import annotations` makes of a user's module."""
    assert define(stringed.Visitors).takes == {"Registered", "Renamed", "Placed"}
    assert define(stringed.VisitorsBySql).takes == {"Registered", "Renamed"}
    assert define(stringed.in_a_function()).takes == {"Waved"}


def test_a_projection_inherits_the_methods_of_another() -> None:
    class Cautious(shop.Baskets):
        @on
        def added(self, row: Basket, event: Added) -> Basket: ...  # type: ignore[empty-body]

    definition = define(Cautious)
    assert definition.name == "cautious"
    assert definition.takes == define(shop.Baskets).takes
    assert definition.handlers["Added"][0].where.endswith("Cautious.added")
