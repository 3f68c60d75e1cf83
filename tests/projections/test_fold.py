"""The pure fold: what methods return is what rows become, and a batch is the same as its events one by one (P1)."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.errors import DecodeError, ProjectionError
from diptych.events.recorded import StoredEvent
from diptych.handlers import on
from diptych.messages import DomainEvent, Metadata
from diptych.projections.definition import define
from diptych.projections.fold import BatchFold
from diptych.projections.piece import piece
from diptych.projections.plan import Definition
from diptych.projections.projection import Projection
from diptych.read.models import Key, ReadModel
from diptych.subscriptions.failures import EventFailure
from tests.projections import shop
from tests.projections.naive import naive_orders, naive_sales
from tests.projections.shop import Added, Basket, Cancelled, Erased, Fact, Order, Placed, Registered, Renamed

Tables = dict[str, dict[tuple[Any, ...], Any]]


def fold(definition: Definition, rows: Sequence[StoredEvent], tables: Tables) -> None:
    """Fold a batch over tables kept in dicts, reading only what the fold asks for."""
    codec = shop.codec()
    batch = BatchFold(definition, piece(rows, definition.takes, codec))
    loaded: dict[str, dict[tuple[Any, ...], Any]] = {}
    for load in batch.loads():
        for key, row in tables.setdefault(load.table.name, {}).items():
            if tuple(getattr(row, column) for column in load.columns) in set(load.values):
                loaded.setdefault(load.table.name, {})[key] = row
    given_rows: Mapping[str, Sequence[Any]] = {name: list(found.values()) for name, found in loaded.items()}
    for changes in batch.run(given_rows):
        table = tables.setdefault(changes.table.name, {})
        for key in changes.deletes:
            table.pop(key, None)
        for row in changes.upserts:
            table[tuple(getattr(row, column) for column in changes.table.key)] = row


def folded(projection: type[Projection[Any]], facts: Sequence[Fact], tables: Tables | None = None) -> Tables:
    tables = {} if tables is None else tables
    fold(define(projection), shop.stored(facts), tables)
    return tables


def failure(projection: type[Projection[Any]], facts: Sequence[Fact]) -> ProjectionError:
    with pytest.raises(EventFailure) as caught:
        folded(projection, facts)
    assert isinstance(caught.value.cause, ProjectionError)
    return caught.value.cause


names = st.sampled_from(["a", "b", "c"])
customer_facts = st.builds(
    lambda who, event: (shop.customer(who), event),
    names,
    st.one_of(st.builds(Registered, name=names), st.builds(Renamed, name=st.text("xyz", max_size=3))),
)
order_facts = st.builds(
    lambda which, event: (shop.order(which), event),
    names,
    st.one_of(
        st.builds(shop.placed, names),
        st.builds(shop.added, names, st.integers(1, 5), st.sampled_from(["0.05", "2.50"])),
        st.builds(Cancelled, reason=names),
        st.builds(Erased),
    ),
)


@given(st.lists(st.one_of(customer_facts, order_facts), max_size=40), st.integers(0, 2**32))
def test_rows_are_the_fold_over_the_log_however_it_is_cut_into_batches(facts: list[Fact], seed: int) -> None:
    """P1, against an independent naive fold."""
    facts = possible(facts)
    for projection, naive in ((shop.Orders, naive_orders), (shop.Sales, naive_sales)):
        definition, rows, tables, random = define(projection), shop.stored(facts), Tables(), Random(seed)
        while rows:
            size = random.randint(1, 10)
            fold(definition, rows[:size], tables)
            rows = rows[size:]
        assert {name: table for name, table in tables.items() if table} == naive(facts)


def possible(facts: list[Fact]) -> list[Fact]:
    """Leave out what no aggregate would record: a change of what is not there."""
    there: set[Any] = set()
    kept = []
    for stream, event in facts:
        if isinstance(event, Registered | Placed):
            there.add(stream)
        elif stream not in there:
            continue
        kept.append((stream, event))
        if isinstance(event, Erased):
            there.discard(stream)
    return kept


def test_a_row_made_in_the_batch_is_not_read_from_the_store() -> None:
    codec, definition = shop.codec(), define(shop.Baskets)
    rows = shop.stored([(shop.order("x"), shop.placed()), (shop.order("x"), shop.added())])
    assert BatchFold(definition, piece(rows, definition.takes, codec)).loads() == []


def loaded(projection: type[Projection[Any]], facts: Sequence[Fact]) -> dict[tuple[str, tuple[str, ...]], list[Any]]:
    """What a batch asks for, by table and columns."""
    definition = define(projection)
    loads = BatchFold(definition, piece(shop.stored(facts), definition.takes, shop.codec())).loads()
    return {(load.table.name, tuple(load.columns)): list(load.values) for load in loads}


def test_a_batch_reads_the_rows_that_it_needs_each_once_and_no_others() -> None:
    """P8"""
    ada, bob, one, two = shop.customer("ada"), shop.customer("bob"), shop.order("1"), shop.order("2")
    facts: list[Fact] = [
        (one, shop.placed("ada")),
        (two, shop.added()),
        (two, shop.added()),
        (one, shop.added()),
        (bob, Renamed(name="B")),
        (bob, shop.Noise()),
    ]
    assert loaded(shop.Orders, facts) == {
        ("customer_name", ("id",)): [(ada.id,), (bob.id,)],
        ("order", ("id",)): [(two.id,)],
        ("order", ("customer_id",)): [(bob.id,)],
    }
    assert loaded(shop.Sales, facts) == {("product_sales", ("product",)): [("pen",)]}
    assert loaded(shop.Sales, [(bob, shop.Noise())]) == {}


class Tagged(ReadModel):
    id: Annotated[UUID, Key]
    tags: list[str]


def test_a_row_that_came_back_as_it_was_is_not_written_but_for_one_with_a_list_in_it() -> None:
    """Of which it cannot be told: a method may have changed the list."""

    class Same(Projection[Basket]):
        @on
        def added(self, row: Basket, event: Added) -> Basket:
            return row

    class SameTags(Projection[Tagged]):
        @on
        def added(self, row: Tagged, event: Added) -> Tagged:
            row.tags.append(event.product)
            return row

    one = shop.order("1")
    basket, tagged = Basket(id=one.id, total=Decimal(0), items=0), Tagged(id=one.id, tags=[])
    for projection, row, upserts in ((Same, basket, []), (SameTags, tagged, [tagged])):
        definition = define(projection)
        batch = BatchFold(definition, piece(shop.stored([(one, shop.added())]), definition.takes, shop.codec()))
        changes = batch.run({definition.sheets[0].table.name: [row]})
        assert [change.upserts for change in changes] == ([upserts] if upserts else [])
    assert tagged.tags == ["pen"]


def test_every_row_with_the_value_changes_even_one_made_in_the_same_batch() -> None:
    ada, one, two, other = shop.customer("ada"), shop.order("1"), shop.order("2"), shop.order("3")
    tables = folded(shop.Orders, [(ada, Registered(name="Ada")), (one, shop.placed()), (other, shop.placed("bob"))])
    folded(shop.Orders, [(two, shop.placed()), (ada, Renamed(name="Countess"))], tables)
    names_of = {key[0]: row.customer_name for key, row in tables["order"].items()}
    assert names_of == {one.id: "Countess", two.id: "Countess", other.id: "?"}


def test_none_deletes_where_the_annotation_says_so() -> None:
    one = shop.order("1")
    assert folded(shop.Baskets, [(one, shop.placed()), (one, Erased())])["basket"] == {}


def test_a_forgotten_return_is_an_error_and_not_a_delete() -> None:
    class Forgetful(Projection[Basket]):
        @on
        def placed(self, event: Placed, meta: Metadata) -> Basket:  # type: ignore[return]
            Basket(id=meta.stream.id, total=Decimal(0), items=0)

    error = failure(Forgetful, [(shop.order("1"), shop.placed())])
    assert "it returned None, but its annotation promises Basket. Return the row" in str(error)
    assert error.position == 1


def test_a_missing_row_is_an_error_unless_it_may_be_new() -> None:
    error = failure(shop.Baskets, [(shop.order("1"), shop.added())])
    assert f"there is no row {shop.order('1').id} in basket" in str(error)


def test_a_missing_row_is_an_error_whatever_else_the_method_takes() -> None:
    class WithMeta(Projection[Basket]):
        @on
        def added(self, row: Basket, event: Added, meta: Metadata) -> Basket:
            raise NotImplementedError

    class WithLookup(Projection[Basket | Order]):
        @on
        def added(self, row: Basket, event: Added, order: Annotated[Order | None, Key]) -> Basket:
            raise NotImplementedError

    for projection in (WithMeta, WithLookup):
        said = str(failure(projection, [(shop.order("1"), shop.added())]))
        assert f"there is no row {shop.order('1').id} in basket for its parameter row" in said


def test_every_row_with_the_value_changes_even_one_that_a_plain_method_made_just_now() -> None:
    class Plain(Projection[Order]):
        @on
        def placed(self, event: Placed, meta: Metadata) -> Order:
            made = shop.Orders().placed(event, meta, None)
            return made.replace(id=meta.stream.id)

        @on
        def added(self, row: Order, event: Added) -> Order:
            return row.replace(customer_id=shop.customer("bob").id)

        @on(each="customer_id")
        def renamed(self, row: Order, event: Renamed) -> Order:
            return row.replace(customer_name=event.name)

    one, two, ada, bob = shop.order("1"), shop.order("2"), shop.customer("ada"), shop.customer("bob")
    made: list[Fact] = [(one, shop.placed()), (two, shop.placed()), (two, shop.added())]
    tables = folded(Plain, [*made, (bob, Renamed(name="Bobby")), (ada, Renamed(name="Countess"))])
    assert {key[0]: row.customer_name for key, row in tables["order"].items()} == {one.id: "Countess", two.id: "Bobby"}


def test_a_changed_key_is_refused() -> None:
    class Mover(Projection[Basket]):
        @on
        def placed(self, event: Placed) -> Basket:
            return Basket(id=event.customer_id, total=Decimal(0), items=0)

    error = failure(Mover, [(shop.order("1"), shop.placed())])
    assert "A key never changes" in str(error)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "it returned None, but its annotation promises Basket"),
        ("a basket", "it returned a str where"),
        (Basket(id=UUID(int=1), total=Decimal(0), items=0), "A key never changes"),
    ],
)
def test_a_method_that_looks_something_up_returns_its_own_row_too(returned: Any, said: str) -> None:
    class Looking(Projection[Basket | Order]):
        @on
        def placed(self, event: Placed, order: Annotated[Order | None, Key("customer_id")]) -> Basket:
            return returned  # type: ignore[no-any-return]

    assert said in str(failure(Looking, [(shop.order("1"), shop.placed())]))


def test_a_new_row_has_the_key_by_which_it_was_looked_for() -> None:
    class Mover(Projection[Basket]):
        @on
        def added(self, row: Basket | None, event: Added) -> Basket:
            return Basket(id=UUID(int=1), total=Decimal(0), items=0)

    assert "A key never changes" in str(failure(Mover, [(shop.order("1"), shop.added())]))


def test_a_changed_key_of_a_row_that_is_there_is_refused() -> None:
    class Mover(Projection[Basket]):
        @on
        def placed(self, event: Placed, meta: Metadata) -> Basket:
            return Basket(id=meta.stream.id, total=Decimal(0), items=0)

        @on
        def added(self, row: Basket, event: Added) -> Basket:
            return row.replace(id=shop.customer("ada").id)

    error = failure(Mover, [(shop.order("1"), shop.placed()), (shop.order("1"), shop.added())])
    assert "A key never changes" in str(error)
    assert error.position == 2


def test_something_else_than_a_row_is_refused() -> None:
    class Stranger(Projection[Basket]):
        @on
        def placed(self, event: Placed) -> Basket:
            return "a basket"  # type: ignore[return-value]

    assert "it returned a str" in str(failure(Stranger, [(shop.order("1"), shop.placed())]))


@pytest.mark.parametrize(("returned", "said"), [("a basket", "it returned a str"), (None, "it returned None")])
def test_something_else_than_the_row_that_changed_is_refused(returned: Any, said: str) -> None:
    class Stranger(Projection[Basket]):
        @on
        def placed(self, event: Placed, meta: Metadata) -> Basket:
            return Basket(id=meta.stream.id, total=Decimal(0), items=0)

        @on
        def added(self, row: Basket, event: Added) -> Basket:
            return returned  # type: ignore[no-any-return]

    error = failure(Stranger, [(shop.order("1"), shop.placed()), (shop.order("1"), shop.added())])
    assert said in str(error)
    assert error.position == 2


def test_a_handler_that_exits_fails_its_event_only() -> None:
    class Exiting(Projection[Basket]):
        @on
        def placed(self, event: Placed) -> Basket:
            raise SystemExit(3)

    assert "SystemExit: 3" in str(failure(Exiting, [(shop.order("1"), shop.placed())]))


class Line(ReadModel):
    order: Annotated[UUID, Key]
    product: Annotated[str, Key]
    quantity: int


class Total(ReadModel):
    product: Annotated[str, Key]
    quantity: int


def test_a_method_may_return_several_rows_each_under_its_own_key() -> None:
    class Doubles(Projection[Line]):
        @on
        def added(self, event: Added, meta: Metadata) -> list[Line]:
            return [
                Line(order=meta.stream.id, product=event.product, quantity=event.quantity),
                Line(order=meta.stream.id, product=f"{event.product} (gift)", quantity=1),
            ]

    one = shop.order("1")
    assert set(folded(Doubles, [(one, shop.added())])["line"]) == {(one.id, "pen"), (one.id, "pen (gift)")}


def test_one_row_where_several_were_promised_is_an_error() -> None:
    class Single(Projection[Line]):
        @on
        def added(self, event: Added, meta: Metadata) -> list[Line]:
            return Line(order=meta.stream.id, product="pen", quantity=1)  # type: ignore[return-value]

    said = str(failure(Single, [(shop.order("1"), shop.added())]))
    assert "it returned one Line where its annotation promises several" in said


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (
            [Line(order=UUID(int=1), product="pen", quantity=1), "ink"],
            "it returned a str where its annotation promises",
        ),
        (None, "it returned None, but its annotation promises Line"),
    ],
)
def test_several_rows_are_all_of_the_promised_kind(returned: Any, said: str) -> None:
    class Several(Projection[Line]):
        @on
        def added(self, event: Added) -> list[Line]:
            return returned  # type: ignore[no-any-return]

    assert said in str(failure(Several, [(shop.order("1"), shop.added())]))


def test_several_rows_may_be_none_if_that_is_promised_and_come_from_a_generator() -> None:
    class Maybe(Projection[Line]):
        @on
        def added(self, event: Added) -> list[Line] | None:
            return None

        @on
        def placed(self, event: Placed, meta: Metadata) -> Iterator[Line]:
            yield Line(order=meta.stream.id, product="pen", quantity=1)
            yield Line(order=meta.stream.id, product="ink", quantity=1)

    one = shop.order("1")
    lines = folded(Maybe, [(one, shop.placed()), (one, shop.added())])["line"]
    assert set(lines) == {(one.id, "pen"), (one.id, "ink")}


def line_key(event: Added, meta: Metadata) -> tuple[UUID, str]:
    return meta.stream.id, event.product


def test_a_key_may_be_a_function_of_event_and_metadata() -> None:
    class Lines(Projection[Line]):
        @on(key=line_key)
        def added(self, row: Line | None, event: Added, meta: Metadata) -> Line:
            before = row.quantity if row else 0
            return Line(order=meta.stream.id, product=event.product, quantity=before + event.quantity)

    one, two = shop.order("1"), shop.order("2")
    tables = folded(Lines, [(one, shop.added()), (two, shop.added()), (one, shop.added(quantity=4))])
    assert {key: row.quantity for key, row in tables["line"].items()} == {(one.id, "pen"): 5, (two.id, "pen"): 1}


@pytest.mark.parametrize("found", [None, (UUID(int=1),), (UUID(int=1), "pen", 1), ("1", "pen"), (UUID(int=1), None)])
def test_a_key_function_that_returns_no_key_fails_its_event(found: Any) -> None:
    class Lines(Projection[Line]):
        @on(key=lambda event, meta: found)
        def added(self, row: Line | None, event: Added) -> Line:
            raise NotImplementedError

    error = failure(Lines, [(shop.order("1"), shop.added())])
    assert f"added: ValueError: its key function returned {found!r} for the key (order, product)" in str(error)
    assert error.position == 1


class Moved(DomainEvent, name="fold.moved"):
    to: UUID | None


def test_a_field_that_is_none_is_no_key_of_a_row_and_finds_none() -> None:
    class Strict(Projection[Basket]):
        @on(key="to")
        def moved(self, row: Basket | None, event: Moved) -> Basket:
            raise NotImplementedError

    class Looking(Projection[Total | Basket]):
        @on
        def moved(self, event: Moved, basket: Annotated[Basket | None, Key("to")]) -> list[Total]:
            return [Total(product="moved", quantity=0 if basket is None else 1)]

    class Demanding(Projection[Total | Basket]):
        @on
        def moved(self, event: Moved, basket: Annotated[Basket, Key("to")]) -> list[Total]:
            raise NotImplementedError

    facts: list[Fact] = [(shop.order("1"), Moved(to=None))]
    assert "the key (to) of its row is None" in str(failure(Strict, facts))
    assert "the key (to) of its row is None" in str(failure(Demanding, facts))
    assert [row.quantity for row in folded(Looking, facts)["total"].values()] == [0]


def test_an_event_that_cannot_be_read_fails_for_itself_also_while_its_rows_are_looked_for() -> None:
    """No method is blamed for it."""
    definition = define(shop.Orders)
    whole, broken = shop.stored([(shop.customer("ada"), Registered(name="Ada")), (shop.order("1"), shop.placed())])
    batch = BatchFold(definition, piece([whole, broken._replace(payload="{}")], definition.takes, shop.codec()))
    with pytest.raises(EventFailure) as caught:
        batch.loads()
    assert caught.value.position == 2
    assert isinstance(caught.value.cause, DecodeError)


def test_a_look_up_without_a_field_is_by_the_stream() -> None:
    class Both(Projection[Basket | Total]):
        @on
        def placed(self, event: Placed, meta: Metadata) -> Basket:
            return Basket(id=meta.stream.id, total=Decimal(0), items=0)

        @on
        def added(self, row: Basket, event: Added) -> Basket:
            return row.replace(items=row.items + event.quantity)

        @on
        def counted(self, event: Added, basket: Annotated[Basket, Key]) -> list[Total]:
            return [Total(product=event.product, quantity=basket.items)] if basket.items > 1 else []

    one = shop.order("1")
    tables = folded(Both, [(one, shop.placed()), (one, shop.added()), (one, shop.added("ink"))])
    assert {key: row.quantity for key, row in tables["total"].items()} == {("ink",): 2}


def test_a_look_up_that_must_be_there_and_is_not_is_an_error() -> None:
    class Strict(Projection[Order | shop.CustomerName]):
        @on
        def placed(self, event: Placed, customer: Annotated[shop.CustomerName, Key("customer_id")]) -> Order:
            raise NotImplementedError

    assert "for its parameter customer" in str(failure(Strict, [(shop.order("1"), shop.placed())]))
