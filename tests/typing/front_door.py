"""What a type checker infers of the public API, without a plugin. Never run: mypy and pyright read it."""

from collections.abc import Sequence
from typing import Annotated, assert_type
from uuid import UUID

from diptych import (
    Aggregate,
    Answer,
    App,
    Command,
    DomainEvent,
    Key,
    Metadata,
    Projection,
    Query,
    ReadModel,
    ReadModels,
    Receipt,
    Repository,
    on,
)


class OrderPlaced(DomainEvent):
    product: str
    quantity: int


class Order(Aggregate):
    quantity: int = 0

    @on
    def _placed(self, event: OrderPlaced) -> None:
        self.quantity = event.quantity


class PlaceOrder(Command[UUID]):
    order_id: UUID
    quantity: int = 1


class Forget(Command):
    order_id: UUID


class OrderRow(ReadModel):
    id: Annotated[UUID, Key]
    quantity: int


class OrderRows(Projection[OrderRow]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderRow:
        return OrderRow(id=meta.stream.id, quantity=event.quantity)


class GetOrder(Query[OrderRow | None]):
    order_id: UUID


class ListOrders(Query[Sequence[OrderRow]]):
    pass


app = App("memory:")
app.project(OrderRows)


@app.command_handler
async def place(command: PlaceOrder, orders: Repository[Order]) -> UUID:
    assert_type(await orders.get(command.order_id), Order)
    assert_type(await orders.get_or_none(command.order_id), Order | None)
    assert_type(await orders.get_or_new(command.order_id), Order)
    return command.order_id


@app.query_handler
async def get_order(query: GetOrder, read: ReadModels) -> OrderRow | None:
    assert_type(await read.one(OrderRow, query.order_id), OrderRow)
    return await read.get(OrderRow, query.order_id)


class Forgetting:
    """The class-based spelling of a command's handler."""

    async def handle(self, command: Forget) -> None:
        return None


class Getting:
    """The class-based spelling."""

    async def handle(self, query: GetOrder) -> OrderRow | None:
        return None


class GettingWrong:
    """A handler whose result is not the query's."""

    async def handle(self, query: GetOrder) -> int:
        return 1


async def infer(order_id: UUID) -> None:
    """What comes out of the buses is typed by what goes in."""
    receipt = await app.commands.dispatch(PlaceOrder(order_id=order_id))
    assert_type(receipt, Receipt[UUID])
    assert_type(receipt.result, UUID)
    assert_type(await app.commands.dispatch(Forget(order_id=order_id)), Receipt[None])
    assert_type(await app.commands.as_user("ada").dispatch(PlaceOrder(order_id=order_id)), Receipt[UUID])

    assert_type(await app.queries.dispatch(GetOrder(order_id=order_id)), OrderRow | None)
    assert_type(await app.queries.dispatch(ListOrders(), after=receipt), Sequence[OrderRow])
    assert_type(await app.queries.answer(GetOrder(order_id=order_id), after=receipt), Answer[OrderRow | None])

    row = OrderRow(id=order_id, quantity=1)
    assert_type(row.replace(quantity=2), OrderRow)


def refuse(order_id: UUID) -> None:
    """What a checker must refuse: each ignore below would itself be an error if it did not."""
    app.queries.register(GetOrder, Getting())
    app.queries.register(GetOrder, GettingWrong())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    app.commands.register(Forget, Forgetting())
    app.commands.register(PlaceOrder, Forgetting())  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    app.commands.register(GetOrder, Forgetting())  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    OrderPlaced(product="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    OrderPlaced("a", 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    placed = OrderPlaced(product="a", quantity=1)
    placed.quantity = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def dispatch_wrong(order_id: UUID) -> None:
    """A command is no query, and a result is of no other type than the message says."""
    await app.queries.dispatch(PlaceOrder(order_id=order_id))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await app.commands.dispatch(GetOrder(order_id=order_id))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text: str = await app.queries.dispatch(GetOrder(order_id=order_id))  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    text = (await app.commands.dispatch(PlaceOrder(order_id=order_id))).result  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    assert text


@app.command_handler  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
async def asks(command: GetOrder) -> None:
    """A command handler whose message is a query."""


@app.query_handler  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
async def commands(query: PlaceOrder) -> None:
    """A query handler whose message is a command."""


@app.command_handler  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def waits_for_nothing(command: Forget) -> None:
    """A handler that is not async."""


# What no checker can say of `@on`, for aggregates use it too, is refused when the class is made: a method of a
# projection that is async, returns no row, or takes a row of one read model and returns another
# (tests/projections/test_definition.py).
