"""The order book: the list of orders, with each customer's name as it is today, and every order complete.

One projection keeps both, so that they never disagree. Lines have rows of their own: adding to a long order must not
rewrite it.
"""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import AwareDatetime

from diptych import Index, Key, Metadata, Module, Page, Projection, Query, ReadModel, ReadModels, given, on
from diptych.web import Queries, tag
from examples.orders import orders
from examples.orders.caller import Route
from examples.orders.customers import CustomerRegistered, CustomerRenamed
from examples.orders.inventory import ProductRegistered
from examples.orders.values import Address, Money, PageNumber, PageSize

module, router = Module("order_book"), APIRouter(prefix="/orders", tags=["reading"], route_class=Route)


class OrderSummary(ReadModel):
    """An order in a list."""

    id: Annotated[UUID, Key]
    customer_id: Annotated[UUID, Index("created_at")]
    customer_name: str
    status: Annotated[orders.OrderStatus, Index("created_at")] = orders.OrderStatus.PENDING
    total_amount: Money = Decimal(0)
    item_count: int = 0
    created_at: Annotated[AwareDatetime, Index]


class OrderDetail(ReadModel):
    """What the list does not show of an order."""

    id: Annotated[UUID, Key]
    shipping_address: Address
    cancelled_because: str | None = None
    version: int


class OrderLine(ReadModel):
    """A line of an order."""

    order_id: Annotated[UUID, Key]
    line: Annotated[int, Key]
    product_id: UUID
    description: str
    quantity: int
    unit_price: Money


class CompleteOrder(OrderDetail, OrderSummary):
    """An order with everything on it: an answer, put together from rows."""

    lines: list[OrderLine]


class CustomerName(ReadModel):
    """What a customer is called today."""

    id: Annotated[UUID, Key]
    name: str


class ProductName(ReadModel):
    """What a product is called."""

    id: Annotated[UUID, Key]
    description: str


def _line(event: orders.OrderItemAdded | orders.OrderItemRemoved, meta: Metadata) -> tuple[UUID, int]:
    return meta.stream.id, event.line


@module.project
class OrderBook(Projection[OrderSummary | OrderDetail | OrderLine | CustomerName | ProductName]):
    """Keeps the order book."""

    @on
    def customer(self, event: CustomerRegistered | CustomerRenamed, meta: Metadata) -> CustomerName:
        return CustomerName(id=meta.stream.id, name=event.name)

    @on
    def product(self, event: ProductRegistered, meta: Metadata) -> ProductName:
        return ProductName(id=meta.stream.id, description=event.description)

    @on
    def listed(
        self, event: orders.OrderCreated, meta: Metadata, customer: Annotated[CustomerName, Key("customer_id")]
    ) -> OrderSummary:
        return OrderSummary(
            id=meta.stream.id, customer_id=event.customer_id, customer_name=customer.name, created_at=event.placed_at
        )

    @on(each="customer_id")
    def renamed(self, row: OrderSummary, event: CustomerRenamed) -> OrderSummary:
        return row.replace(customer_name=event.name)

    @on
    def item_added(self, row: OrderSummary, event: orders.OrderItemAdded) -> OrderSummary:
        return row.replace(total_amount=row.total_amount + event.amount, item_count=row.item_count + 1)

    @on
    def item_removed(self, row: OrderSummary, event: orders.OrderItemRemoved) -> OrderSummary:
        return row.replace(total_amount=row.total_amount + event.amount, item_count=row.item_count - 1)

    @on
    def moved(self, row: OrderSummary, event: orders.OrderStatusChanged | orders.OrderCancelled) -> OrderSummary:
        return row.replace(status=event.status)

    @on
    def created(self, event: orders.OrderCreated, meta: Metadata) -> OrderDetail:
        return OrderDetail(id=meta.stream.id, shipping_address=event.shipping_address, version=meta.version)

    @on
    def changed(
        self,
        row: OrderDetail,
        event: orders.OrderItemAdded
        | orders.OrderItemRemoved
        | orders.OrderCheckedOut
        | orders.GoodsSetAside
        | orders.OrderStatusChanged,
        meta: Metadata,
    ) -> OrderDetail:
        return row.replace(version=meta.version)

    @on
    def sent_elsewhere(self, row: OrderDetail, event: orders.ShippingAddressChanged, meta: Metadata) -> OrderDetail:
        return row.replace(version=meta.version, shipping_address=event.shipping_address)

    @on
    def called_off(self, row: OrderDetail, event: orders.OrderCancelled, meta: Metadata) -> OrderDetail:
        return row.replace(version=meta.version, cancelled_because=event.reason)

    @on(key=_line)
    def line_added(
        self, event: orders.OrderItemAdded, meta: Metadata, product: Annotated[ProductName, Key("product_id")]
    ) -> OrderLine:
        return OrderLine(
            order_id=meta.stream.id,
            line=event.line,
            product_id=event.product_id,
            description=product.description,
            quantity=event.quantity,
            unit_price=event.unit_price,
        )

    @on(key=_line)
    def line_removed(self, row: OrderLine, event: orders.OrderItemRemoved) -> OrderLine | None:
        return None


@router.get("")
class GetOrdersByCustomer(Query[Page[OrderSummary]]):
    """A customer's orders, the newest first: by number of the page, or on from a page's cursor."""

    customer_id: UUID
    status: orders.OrderStatus | None = None
    page: PageNumber = 1
    page_size: PageSize = 20
    cursor: str | None = None


@module.query_handler
async def orders_of(query: GetOrdersByCustomer, read: ReadModels) -> Page[OrderSummary]:
    filters = given(customer_id=query.customer_id, status=query.status)
    return await read.page(
        OrderSummary, order_by="-created_at", size=query.page_size, page=query.page, after=query.cursor, **filters
    )


class GetOrderById(Query[CompleteOrder]):
    """One order, complete."""

    order_id: UUID


@router.get("/{order_id}")
async def get_order_by_id(order_id: UUID, queries: Queries, request: Request) -> CompleteOrder:
    """One order, complete. Its ETag may be sent back as If-Match with any change of it."""
    order = await queries.dispatch(GetOrderById(order_id=order_id))
    tag(request, order.version)
    return order


@module.query_handler
async def complete(query: GetOrderById, read: ReadModels) -> CompleteOrder:
    summary = await read.one(OrderSummary, query.order_id)
    detail = await read.one(OrderDetail, query.order_id)
    lines = await read.find(OrderLine, order_id=query.order_id, order_by="line")
    return CompleteOrder(**{**dict(summary), **dict(detail)}, lines=lines)
