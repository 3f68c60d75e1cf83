"""A small shop: events, read models and projections that the tests of this folder share."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from diptych.clock import id_for, new_id_bytes
from diptych.events.codec import Codec
from diptych.events.recorded import NewEvent, StoredEvent
from diptych.handlers import on
from diptych.messages import DomainEvent, Metadata
from diptych.projections.projection import Projection
from diptych.read.models import Index, Key, ReadModel
from diptych.store.batches import Db
from diptych.store.protocols import Append, Appended, EventStore, StreamWrite
from diptych.stream import ANY, StreamName

Money = Annotated[Decimal, Field(decimal_places=2)]


class Registered(DomainEvent):
    name: str


class Renamed(DomainEvent):
    name: str


class Placed(DomainEvent):
    customer_id: UUID


class Added(DomainEvent):
    product: str
    quantity: int
    price: Money


class Cancelled(DomainEvent):
    reason: str


class Erased(DomainEvent):
    pass


class Noise(DomainEvent):
    """No projection takes it."""


class CustomerName(ReadModel):
    id: Annotated[UUID, Key]
    name: str


class Order(ReadModel):
    id: Annotated[UUID, Key]
    customer_id: Annotated[UUID, Index]
    customer_name: str
    total: Money
    items: int
    status: str
    placed_at: AwareDatetime


class ProductSales(ReadModel):
    product: Annotated[str, Key]
    sold: int
    revenue: Money


class Basket(ReadModel):
    id: Annotated[UUID, Key]
    total: Money
    items: int


class Orders(Projection[Order | CustomerName]):
    """With a look-up, an `each` and a delete: not isolated."""

    @on
    def registered(self, event: Registered, meta: Metadata) -> CustomerName:
        return CustomerName(id=meta.stream.id, name=event.name)

    @on
    def renamed(self, row: CustomerName, event: Renamed) -> CustomerName:
        return row.replace(name=event.name)

    @on(each="customer_id")
    def customer_renamed(self, row: Order, event: Renamed) -> Order:
        return row.replace(customer_name=event.name)

    @on
    def placed(
        self, event: Placed, meta: Metadata, customer: Annotated[CustomerName | None, Key("customer_id")]
    ) -> Order:
        return Order(
            id=meta.stream.id,
            customer_id=event.customer_id,
            customer_name=customer.name if customer else "?",
            total=Decimal(0),
            items=0,
            status="placed",
            placed_at=meta.recorded_at,
        )

    @on
    def added(self, row: Order, event: Added) -> Order:
        return row.replace(total=row.total + event.quantity * event.price, items=row.items + event.quantity)

    @on
    def cancelled(self, row: Order, event: Cancelled) -> Order:
        return row.replace(status=f"cancelled: {event.reason}")

    @on
    def erased(self, row: Order, event: Erased) -> Order | None:
        return None


class Sales(Projection[ProductSales]):
    """With a key of its own: not isolated."""

    @on(key="product")
    def sold(self, row: ProductSales | None, event: Added) -> ProductSales:
        row = row or ProductSales(product=event.product, sold=0, revenue=Decimal(0))
        return row.replace(sold=row.sold + event.quantity, revenue=row.revenue + event.quantity * event.price)


class Baskets(Projection[Basket]):
    """Isolated. An item called `poison` is what it cannot take, until it is mended."""

    is_mended = False

    @on
    def placed(self, event: Placed, meta: Metadata) -> Basket:
        return Basket(id=meta.stream.id, total=Decimal(0), items=0)

    @on
    def added(self, row: Basket, event: Added) -> Basket:
        if event.product == "poison" and not type(self).is_mended:
            raise RuntimeError("this basket is poisoned")
        return row.replace(total=row.total + event.quantity * event.price, items=row.items + event.quantity)

    @on
    def erased(self, row: Basket, event: Erased) -> Basket | None:
        return None


class HandWritten(ReadModel):
    product: Annotated[str, Key]
    lines: int


class SalesBySql(Projection[HandWritten]):
    """Hand-written SQL that adds: applied twice, it would count double."""

    async def handle(self, event: Added, db: Db) -> None:
        if event.product == "poison":
            raise RuntimeError("no SQL for poison")
        await db.execute(
            "INSERT INTO hand_written (product, lines) VALUES (:product, 1) "
            "ON CONFLICT (product) DO UPDATE SET lines = hand_written.lines + 1",
            product=event.product,
        )


EVENTS = (Registered, Renamed, Placed, Added, Cancelled, Erased, Noise)


def customer(name: str) -> StreamName:
    """The stream of a customer."""
    return StreamName("", "Customer", id_for("customer", name))


def order(name: str) -> StreamName:
    """The stream of an order."""
    return StreamName("", "Order", id_for("order", name))


def added(product: str = "pen", quantity: int = 1, price: str = "1.50") -> Added:
    """One line of an order."""
    return Added(product=product, quantity=quantity, price=Decimal(price))


def placed(by: str = "ada") -> Placed:
    """A new order."""
    return Placed(customer_id=customer(by).id)


Fact = tuple[StreamName, DomainEvent]


def codec() -> Codec:
    """A codec that knows the events of the shop."""
    made = Codec()
    for event in EVENTS:
        made.register(event)
    return made


def stored(facts: Iterable[Fact], *, after: int = 0) -> list[StoredEvent]:
    """Rows of a log, as a store would return them."""
    encode, versions, rows = codec().encode, dict[StreamName, int](), []
    for position, (stream, event) in enumerate(facts, after + 1):
        versions[stream] = versions.get(stream, 0) + 1
        new: NewEvent = encode(event)
        where = (position, stream.tenant, stream.category, str(stream.id), versions[stream], new.event_id)
        rows.append(StoredEvent(*where, new.type, 1, 0, new.payload, "{}", 1_700_000_000_000_000 + position, 0))
    return rows


async def append(store: EventStore, facts: Iterable[Fact], **more: object) -> Appended:
    """Append facts to their streams in this order, one append for each run of one stream."""
    encode = codec().encode
    last: Appended | None = None
    pending: list[NewEvent] = []
    current: StreamName | None = None
    for stream, event in [*facts, (None, None)]:
        if current is not None and (stream != current or len(pending) >= 500):
            last = await store.append(Append([StreamWrite(current, ANY, pending)], **more))  # type: ignore[arg-type]
            pending = []
        if stream is not None and event is not None:
            current = stream
            pending.append(encode(event))
    assert last is not None
    return last


def random_id() -> bytes:
    """An id for an event made by hand."""
    return new_id_bytes()
