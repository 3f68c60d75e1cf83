"""One order with everything on it: each line with its product's description, and where it goes."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request
from pydantic import AwareDatetime

from diptych import Key, Metadata, Module, Projection, Query, ReadModel, ReadModels, on
from diptych.web import Queries, tag
from examples.orders.inventory.domain import ProductRegistered
from examples.orders.orders import events
from examples.orders.orders.events import OrderStatus
from examples.orders.values import Address, Money

module, router = Module("order_detail"), APIRouter(tags=["reading"])


class OrderLine(ReadModel):
    """A line of an order."""

    order_id: Annotated[UUID, Key]
    line: Annotated[int, Key]
    product_id: UUID
    description: str
    quantity: int
    unit_price: Money


class OrderDetail(ReadModel):
    """An order but for its lines, which have rows of their own: adding to a long order must not rewrite it."""

    id: Annotated[UUID, Key]
    customer_id: UUID
    status: OrderStatus = OrderStatus.PENDING
    shipping_address: Address
    total_amount: Money = Decimal(0)
    cancelled_because: str | None = None
    placed_at: AwareDatetime
    version: int


class OrderWithLines(OrderDetail):
    """An order, complete: the answer, put together from rows."""

    lines: list[OrderLine]


class ProductName(ReadModel):
    """What a product is called."""

    id: Annotated[UUID, Key]
    description: str


def _line(event: events.OrderItemAdded | events.OrderItemRemoved, meta: Metadata) -> tuple[UUID, int]:
    return meta.stream.id, event.line


@module.project
class OrderDetails(Projection[OrderDetail | OrderLine | ProductName]):
    """Keeps the orders, complete."""

    @on
    def registered(self, event: ProductRegistered, meta: Metadata) -> ProductName:
        return ProductName(id=meta.stream.id, description=event.description)

    @on
    def created(self, event: events.OrderCreated, meta: Metadata) -> OrderDetail:
        return OrderDetail(
            id=meta.stream.id,
            customer_id=event.customer_id,
            shipping_address=event.shipping_address,
            placed_at=event.placed_at,
            version=meta.version,
        )

    @on(key=_line)
    def line_added(
        self, event: events.OrderItemAdded, meta: Metadata, product: Annotated[ProductName | None, Key("product_id")]
    ) -> OrderLine:
        return OrderLine(
            order_id=meta.stream.id,
            line=event.line,
            product_id=event.product_id,
            description=product.description if product else "",
            quantity=event.quantity,
            unit_price=event.unit_price,
        )

    @on
    def item_added(self, row: OrderDetail, event: events.OrderItemAdded, meta: Metadata) -> OrderDetail:
        return row.replace(version=meta.version, total_amount=row.total_amount + event.amount)

    @on(key=_line)
    def line_removed(self, row: OrderLine, event: events.OrderItemRemoved) -> OrderLine | None:
        return None

    @on
    def item_removed(self, row: OrderDetail, event: events.OrderItemRemoved, meta: Metadata) -> OrderDetail:
        return row.replace(version=meta.version, total_amount=row.total_amount - event.amount)

    @on
    def sent_elsewhere(self, row: OrderDetail, event: events.ShippingAddressChanged, meta: Metadata) -> OrderDetail:
        return row.replace(version=meta.version, shipping_address=event.shipping_address)

    @on
    def moved(self, row: OrderDetail, event: events.OrderStatusChanged, meta: Metadata) -> OrderDetail:
        return row.replace(version=meta.version, status=event.status)

    @on
    def cancelled(self, row: OrderDetail, event: events.OrderCancelled, meta: Metadata) -> OrderDetail:
        return row.replace(version=meta.version, status=OrderStatus.CANCELLED, cancelled_because=event.reason)


class GetOrderById(Query[OrderWithLines | None]):
    """One order, or None."""

    order_id: UUID


@module.query_handler
async def get_order(query: GetOrderById, read: ReadModels) -> OrderWithLines | None:
    order = await read.get(OrderDetail, query.order_id)
    if order is None:
        return None
    lines = await read.find(OrderLine, order_id=query.order_id, order_by="line")
    return OrderWithLines(**dict(order), lines=lines)


@router.get("/orders/{order_id}")
async def get_order_by_id(order_id: UUID, queries: Queries, request: Request) -> OrderWithLines:
    """One order, complete. Its ETag may be sent back as If-Match with any change of it."""
    order = await queries.dispatch(GetOrderById(order_id=order_id))
    if order is None:
        raise HTTPException(404, f"There is no order {order_id}.")
    tag(request, order.version)
    return order
