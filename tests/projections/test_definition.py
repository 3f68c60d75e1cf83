"""What a projection's annotations may say, and the sentence for each thing they may not."""

from typing import Annotated, Any
from uuid import UUID

import pytest

from diptych.errors import ConfigurationError
from diptych.handlers import on
from diptych.messages import DomainEvent, Metadata
from diptych.projections.definition import define, define_all
from diptych.projections.projection import Projection
from diptych.read.models import Key, ReadModel
from diptych.store.batches import Db
from diptych.subscriptions.lanes import LANES
from tests.projections import shop
from tests.projections.shop import Added, Basket, Order, Placed, ProductSales, Registered


class Line(ReadModel):
    order: Annotated[UUID, Key]
    number: Annotated[int, Key]
    text: str


def faults(projection: type[Projection[Any]]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        define(projection)
    return str(caught.value)


def test_a_projection_is_isolated_when_every_method_touches_only_its_own_stream() -> None:
    assert define(shop.Baskets).is_isolated
    assert not define(shop.Orders).is_isolated
    assert not define(shop.Sales).is_isolated
    assert not define(shop.SalesBySql).is_isolated


def test_only_what_is_isolated_and_asynchronous_is_spread_over_lanes() -> None:
    assert define(shop.Baskets).tables.lanes == LANES
    assert define(shop.Baskets, "inline").tables.lanes == 1
    for projection in (shop.Orders, shop.Sales, shop.SalesBySql):
        assert define(projection).tables.lanes == 1


def test_hand_written_sql_is_given_what_it_asks_for_in_any_order() -> None:
    given: list[tuple[Any, ...]] = []

    class Plain(Projection[Basket]):
        async def handle(self, event: Placed, db: Db) -> None:
            given.append((event, db))

    class WithMeta(Projection[Basket]):
        async def handle(self, meta: Metadata, event: Annotated[Placed, "an event"], db: Db) -> None:
            given.append((meta, event, db))

    for projection in (Plain, WithMeta):
        definition = define(projection)
        assert definition.script is not None
        assert definition.takes == {"Placed"}
        assert definition.script.where.endswith(f"{projection.__qualname__}.handle")
        coroutine: Any = definition.script.call("event", "metadata", "db")
        with pytest.raises(StopIteration):
            coroutine.send(None)
    assert given == [("event", "db"), ("metadata", "event", "db")]


@pytest.mark.parametrize("hint", [DomainEvent, Any, None])
def test_hand_written_sql_that_names_no_event_takes_all_that_are_declared(hint: Any) -> None:
    async def handle(self: Any, event: Any, db: Db) -> None: ...

    if hint is None:
        del handle.__annotations__["event"]
    else:
        handle.__annotations__["event"] = hint
    taken = define(type("Taking", (shop.SalesBySql,), {"handle": handle})).takes
    assert {"Added", "Placed", "Noise"} <= taken


def test_a_definition_names_its_tables_and_the_events_it_takes() -> None:
    definition = define(shop.Orders)
    assert definition.name == "orders"
    assert [table.name for table in definition.tables.tables] == ["order", "customer_name"]
    assert definition.takes == {"Registered", "Renamed", "Placed", "Added", "Cancelled", "Erased"}


def test_a_projection_can_choose_its_name_and_version() -> None:
    class Chosen(Projection[Basket], name="baskets_of_today", version=3):
        @on
        def placed(self, event: Placed, meta: Metadata) -> Basket:
            raise NotImplementedError

    definition = define(Chosen)
    assert (definition.name, definition.tables.version) == ("baskets_of_today", 3)


def test_hand_written_sql_takes_the_events_of_its_annotation_or_all() -> None:
    class Everything(Projection[Basket]):
        async def handle(self, event: DomainEvent, db: Db) -> None: ...

    assert define(shop.SalesBySql).takes == {"Added"}
    assert {"Added", "Placed", "Noise"} <= define(Everything).takes


def test_all_faults_are_listed_at_once_each_with_its_place() -> None:
    class Wrong(Projection[Basket]):
        @on
        def one(self, event: Placed, other: Added) -> Basket:
            raise NotImplementedError

        @on(key="prodcut")
        def two(self, row: Basket, event: Added) -> Basket:
            raise NotImplementedError

        @on
        def three(self, row: Basket, clock: int, event: shop.Erased) -> Basket:
            raise NotImplementedError

    text = faults(Wrong)
    assert "3 problems" in text
    assert "parameter other is not one event" in text
    assert "Added has no field prodcut" in text
    assert "parameter clock is nothing a projection can have" in text
    assert text.count(__file__) == 3


def test_a_method_that_promises_no_row_is_refused_when_the_class_is_made() -> None:
    """All such faults of a class together; at the start the others."""
    with pytest.raises(ConfigurationError) as caught:

        class Wrong(Projection[Basket | Order]):
            @on
            def silent(self, event: Placed): ...  # type: ignore[no-untyped-def]

            @on
            async def waits(self, event: Placed) -> Basket:
                raise NotImplementedError

            @on
            def forgets(self, row: Basket, event: Added) -> None: ...

            @on
            def crosses(self, row: Basket | None, event: Added) -> Order:
                raise NotImplementedError

            @on
            def multiplies(self, row: Basket, event: Added) -> list[Order]:
                raise NotImplementedError

            @on
            def trespasses(self, event: Added) -> ProductSales:
                raise NotImplementedError

            @on
            def borrows(self, row: ProductSales, event: Added) -> Basket:
                raise NotImplementedError

    assert len(caught.value.problems) == 7
    text = str(caught.value)
    assert text.count(__file__) == 7
    assert "silent: it does not say what it returns" in text
    assert "waits: it is async; a projection's method is a plain function: write `def`" in text
    assert "forgets: it does not say what it returns" in text
    assert "crosses: it takes a row of Basket and returns one of Order" in text
    assert "make that a look-up: `row: Annotated[Basket | None, Key]`" in text
    assert "multiplies: it takes a row of Basket and returns one of Order" in text
    assert "trespasses: ProductSales is not in this projection's brackets" in text
    assert "borrows: ProductSales is not in this projection's brackets" in text


class Early(Projection["Late"]):
    """Its brackets and its methods name what is not there yet."""

    @on
    def placed(self, event: Placed) -> "Later": ...  # type: ignore[empty-body]


class Late(ReadModel):
    id: Annotated[UUID, Key]


class Later(ReadModel):
    id: Annotated[UUID, Key]


class Between(Projection[Late]):
    @on
    def placed(self, row: Late, event: Placed) -> "Latest": ...  # type: ignore[empty-body]


class Latest(ReadModel):
    id: Annotated[UUID, Key]


def test_names_that_are_not_there_yet_are_left_to_the_start() -> None:
    assert "holds ForwardRef('Late')" in faults(Early)
    assert "Latest is not in this projection's brackets" in faults(Between)


def test_a_key_of_several_columns_needs_to_be_named() -> None:
    class Lines(Projection[Line]):
        @on
        def added(self, row: Line | None, event: Added) -> Line:
            raise NotImplementedError

    assert "found by order, number, which is not the stream's id" in faults(Lines)


def test_a_key_must_name_fields_of_the_event() -> None:
    class Typo(Projection[ProductSales]):
        @on(key="prodcut")
        def sold(self, row: ProductSales | None, event: Added) -> ProductSales:
            raise NotImplementedError

    assert "Added has no field prodcut" in faults(Typo)


def test_each_needs_a_column_of_the_row() -> None:
    class Typo(Projection[Order]):
        @on(each="customer")
        def renamed(self, row: Order, event: shop.Renamed) -> Order:
            raise NotImplementedError

    assert "Order has no column customer" in faults(Typo)


def test_two_methods_cannot_make_one_row_of_one_event() -> None:
    class Twins(Projection[Basket]):
        @on
        def first(self, event: Placed, meta: Metadata) -> Basket:
            raise NotImplementedError

        @on
        def second(self, event: Placed, meta: Metadata) -> Basket:
            raise NotImplementedError

    assert "Placed already changes Basket in" in faults(Twins)


def test_a_second_row_has_to_be_a_look_up() -> None:
    class Two(Projection[Basket | Order]):
        @on
        def placed(self, row: Basket, other: Order, event: Placed) -> Basket:
            raise NotImplementedError

    assert 'other: Annotated[Order | None, Key("<field of the event>")]' in faults(Two)


def test_one_table_has_one_owner() -> None:
    class Other(Projection[Basket]):
        @on
        def placed(self, event: Placed, meta: Metadata) -> Basket:
            raise NotImplementedError

    with pytest.raises(ConfigurationError, match="the table basket is owned by"):
        define_all([(shop.Baskets, "async"), (Other, "inline")])


def test_a_projection_without_brackets_or_handlers_is_refused() -> None:
    class Bare(Projection): ...  # type: ignore[type-arg]

    class Idle(Projection[Basket]): ...

    assert "it does not say which read models it owns" in faults(Bare)
    assert "it handles no event" in faults(Idle)


def test_handle_must_be_async_and_take_an_event_and_a_db() -> None:
    class Sync(Projection[Basket]):
        def handle(self, event: Placed, db: Db) -> None: ...

    class Short(Projection[Basket]):
        async def handle(self, event: Placed) -> None: ...

    assert "handle is not async" in faults(Sync)
    assert "it must take an event and a db" in faults(Short)


def test_methods_and_own_sql_do_not_mix() -> None:
    class Both(Projection[Basket]):
        @on
        def registered(self, event: Registered, meta: Metadata) -> Basket:
            raise NotImplementedError

        async def handle(self, event: Placed, db: Db) -> None: ...

    assert "both @on methods and its own handle" in faults(Both)


def test_two_projections_share_neither_a_name_nor_a_table() -> None:
    class First(Projection[Basket], name="twins"):
        @on
        def placed(self, event: Placed, meta: Metadata) -> Basket:
            raise NotImplementedError

    class Second(Projection[ProductSales], name="twins"):
        @on(key="product")
        def added(self, row: ProductSales | None, event: Added) -> ProductSales:
            raise NotImplementedError

    class Third(Projection[Basket]):
        @on
        def placed(self, event: Placed, meta: Metadata) -> Basket:
            raise NotImplementedError

    with pytest.raises(ConfigurationError) as caught:
        define_all([(First, "async"), (Second, "async"), (Third, "async")])
    said = str(caught.value)
    assert "the name twins is taken by" in said
    assert 'say `class ...(Projection[...], name="...")`' in said
    assert "the table basket is owned by" in said
