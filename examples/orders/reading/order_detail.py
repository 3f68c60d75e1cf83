"""One order with everything on it: each line with its product's description, and where it goes."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict

from diptych import Key, Metadata, Module, Projection, Query, ReadModel, ReadModels, on
from diptych.web import Queries, tag
from examples.orders.inventory.domain import ProductRegistered
from examples.orders.orders import events
from examples.orders.orders.events import OrderStatus
from examples.orders.values import Address, Money

module, router = Module("order_detail"), APIRouter(tags=["reading"])


class OrderLine(BaseModel):
    """A line of an order."""

    model_config = ConfigDict(frozen=True)

    line: int
    product_id: UUID
    description: str
    quantity: int
    unit_price: Decimal
    amount: Decimal


class OrderDetail(ReadModel):
    """An order, complete."""

    id: Annotated[UUID, Key]
    customer_id: UUID
    status: OrderStatus = OrderStatus.PENDING
    shipping_address: Address
    lines: tuple[OrderLine, ...] = ()
    total_amount: Money = Decimal(0)
    cancelled_because: str | None = None
    placed_at: AwareDatetime
    version: int


class ProductName(ReadModel):
    """What a product is called."""

    id: Annotated[UUID, Key]
    description: str


@module.project
class OrderDetails(Projection[OrderDetail | ProductName]):
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

    @on
    def item_added(
        self,
        row: OrderDetail,
        event: events.OrderItemAdded,
        meta: Metadata,
        product: Annotated[ProductName | None, Key("product_id")],
    ) -> OrderDetail:
        line = OrderLine(
            line=event.line,
            product_id=event.product_id,
            description=product.description if product else "",
            quantity=event.quantity,
            unit_price=event.unit_price,
            amount=event.amount,
        )
        return row.replace(version=meta.version, lines=(*row.lines, line), total_amount=row.total_amount + event.amount)

    @on
    def item_removed(self, row: OrderDetail, event: events.OrderItemRemoved, meta: Metadata) -> OrderDetail:
        kept = tuple(line for line in row.lines if line.line != event.line)
        return row.replace(version=meta.version, lines=kept, total_amount=row.total_amount - event.amount)

    @on
    def sent_elsewhere(self, row: OrderDetail, event: events.ShippingAddressChanged, meta: Metadata) -> OrderDetail:
        return row.replace(version=meta.version, shipping_address=event.shipping_address)

    @on
    def moved(self, row: OrderDetail, event: events.OrderStatusChanged, meta: Metadata) -> OrderDetail:
        return row.replace(version=meta.version, status=event.status)

    @on
    def cancelled(self, row: OrderDetail, event: events.OrderCancelled, meta: Metadata) -> OrderDetail:
        return row.replace(version=meta.version, status=OrderStatus.CANCELLED, cancelled_because=event.reason)


class GetOrderById(Query[OrderDetail | None]):
    """One order, or None."""

    order_id: UUID


@module.query_handler
async def get_order(query: GetOrderById, read: ReadModels) -> OrderDetail | None:
    return await read.get(OrderDetail, query.order_id)


@router.get("/orders/{order_id}")
async def get_order_by_id(order_id: UUID, queries: Queries, request: Request) -> OrderDetail:
    """One order, complete. Its ETag may be sent back as If-Match with any change of it."""
    order = await queries.dispatch(GetOrderById(order_id=order_id))
    if order is None:
        raise HTTPException(404, f"There is no order {order_id}.")
    tag(request, order.version)
    return order
