"""The order domain as Diptych's users write it: what every workload runs on the Diptych side."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import Enum
from typing import Annotated, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from benchmarks.generator import CREATED, ITEM_ADDED, SHIPPED, Fact, appends
from diptych import (
    Aggregate,
    App,
    Command,
    DomainError,
    DomainEvent,
    Index,
    Key,
    Metadata,
    Projection,
    Query,
    ReadModel,
    ReadModels,
    Repository,
    new_id,
    on,
)
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import StreamName


class Address(BaseModel):
    """Where an order goes."""

    model_config = ConfigDict(frozen=True)

    street: str
    postal_code: str
    city: str
    country: str


class OrderStatus(Enum):
    """How far an order is."""

    PENDING = "pending"
    SHIPPED = "shipped"


class OrderCreated(DomainEvent, name=CREATED):
    """An order begins."""

    customer_id: UUID
    shipping_address: Address


class OrderItemAdded(DomainEvent, name=ITEM_ADDED):
    """An item is added."""

    product_id: UUID
    description: str
    quantity: int
    unit_price: Decimal


class OrderShipped(DomainEvent, name=SHIPPED):
    """An order is shipped."""

    carrier: str
    tracking_code: UUID
    parcels: int
    weight_grams: int


class OrderClosedError(DomainError):
    """A shipped order takes no more items."""


class Item(BaseModel):
    """One line of an order."""

    model_config = ConfigDict(frozen=True)

    product_id: UUID
    description: str
    quantity: int
    unit_price: Decimal


class Order(Aggregate, name="bench.order"):
    """An order: pending until it is shipped."""

    status: OrderStatus = OrderStatus.PENDING
    total: Decimal = Decimal(0)
    item_count: int = 0

    @classmethod
    def create(cls, order_id: UUID, customer_id: UUID, items: Sequence[Item], shipping_address: Address) -> Self:
        """Begin an order."""
        order = cls(order_id)
        order.record(OrderCreated(customer_id=customer_id, shipping_address=shipping_address))
        for item in items:
            order.add_item(item)
        return order

    def add_item(self, item: Item) -> None:
        """Add an item to an order that is not shipped."""
        if self.status is not OrderStatus.PENDING:
            raise OrderClosedError("The order is shipped.")
        self.record(
            OrderItemAdded(
                product_id=item.product_id,
                description=item.description,
                quantity=item.quantity,
                unit_price=item.unit_price,
            )
        )

    @on
    def _item_added(self, event: OrderItemAdded) -> None:
        self.total += event.quantity * event.unit_price
        self.item_count += 1

    @on
    def _shipped(self, event: OrderShipped) -> None:
        self.status = OrderStatus.SHIPPED


class CreateOrder(Command[UUID]):
    """Begin an order."""

    order_id: UUID = Field(default_factory=new_id)
    customer_id: UUID
    items: list[Item]
    shipping_address: Address


class AddItem(Command[None]):
    """Add an item."""

    order_id: UUID
    item: Item


class CountItems(Command[int]):
    """Load an order and change nothing."""

    order_id: UUID


class OrderSummary(ReadModel):
    """One order for reading."""

    id: Annotated[UUID, Key]
    customer_id: Annotated[UUID, Index]
    status: OrderStatus
    total_amount: Annotated[Decimal, Field(decimal_places=2)]
    item_count: int
    created_at: AwareDatetime


class OrderSummaries(Projection[OrderSummary]):
    """Keeps order_summary."""

    @on
    def created(self, event: OrderCreated, meta: Metadata) -> OrderSummary:
        """A new order."""
        return OrderSummary(
            id=meta.stream.id,
            customer_id=event.customer_id,
            status=OrderStatus.PENDING,
            total_amount=Decimal(0),
            item_count=0,
            created_at=meta.recorded_at,
        )

    @on
    def item_added(self, row: OrderSummary, event: OrderItemAdded) -> OrderSummary:
        """One more item."""
        total = row.total_amount + event.quantity * event.unit_price
        return row.replace(total_amount=total, item_count=row.item_count + 1)

    @on
    def shipped(self, row: OrderSummary, event: OrderShipped) -> OrderSummary:
        """The end of an order."""
        return row.replace(status=OrderStatus.SHIPPED)


class GetOrder(Query[OrderSummary | None]):
    """One order."""

    order_id: UUID


class Answer(Query[int]):
    """A question whose answer costs nothing, to see what asking costs."""


async def create_order(command: CreateOrder, orders: Repository[Order]) -> UUID:
    """Begin an order."""
    orders.add(Order.create(command.order_id, command.customer_id, command.items, command.shipping_address))
    return command.order_id


async def add_item(command: AddItem, orders: Repository[Order]) -> None:
    """Add an item."""
    order = await orders.get(command.order_id)
    order.add_item(command.item)


async def count_items(command: CountItems, orders: Repository[Order]) -> int:
    """Load an order and change nothing."""
    return (await orders.get(command.order_id)).item_count


async def get_order(query: GetOrder, read: ReadModels) -> OrderSummary | None:
    """One order."""
    return await read.get(OrderSummary, query.order_id)


async def answer(query: Answer) -> int:
    """The cheapest handler there is."""
    return 42


def shop(url: str, *, projects: bool = True) -> App:
    """Return the app over a store; without `projects` only its write side."""
    app = App(url, mode="production")
    for handle in (create_order, add_item, count_items):
        app.command_handler(handle)
    app.query_handler(answer)
    if projects:
        app.query_handler(get_order)
        app.project(OrderSummaries)
    return app


_CLASSES: dict[str, type[DomainEvent]] = {cls.event_name: cls for cls in (OrderCreated, OrderItemAdded, OrderShipped)}


def event(fact: Fact) -> DomainEvent:
    """Make Diptych's event of a generated fact."""
    return _CLASSES[fact.name].model_validate(fact.fields)


def stream(order_id: UUID) -> StreamName:
    """The stream of an order."""
    return StreamName("", Order.aggregate_name, order_id)


def without_waiting(url: str) -> str:
    """The same store, whose appends do not wait for the disk: to fill it."""
    return f"{url}{'&' if '?' in url else '?'}synchronous=normal"


async def fill(url: str, facts: Iterable[Fact], size: int = 100) -> None:
    """Write a whole log before anything is measured."""
    async with App(without_waiting(url)) as app:
        versions: dict[UUID, int] = {}
        for append in appends(facts, size):
            writes = []
            for order_id, written in append.items():
                expected = versions.get(order_id, 0)
                writes.append(StreamWrite(stream(order_id), expected, [app.codec.encode(event(f)) for f in written]))
                versions[order_id] = expected + len(written)
            await app.events.append(Append(writes))
