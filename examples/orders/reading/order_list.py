"""The order list: one row for each order, with its customer's name as it is today."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from fastapi import Query as Parameter
from pydantic import AwareDatetime

from diptych import Index, Key, Metadata, Module, Page, Projection, Query, ReadModel, ReadModels, given, on
from diptych.web import Queries
from examples.orders.customers.domain import CustomerRegistered, CustomerRenamed
from examples.orders.orders import events
from examples.orders.orders.events import OrderStatus
from examples.orders.values import Money, PageNumber, PageSize

module, router = Module("order_list"), APIRouter(tags=["reading"])


class OrderSummary(ReadModel):
    """An order in a list."""

    id: Annotated[UUID, Key]
    customer_id: Annotated[UUID, Index("created_at")]
    customer_name: str
    status: Annotated[OrderStatus, Index("created_at")] = OrderStatus.PENDING
    total_amount: Money = Decimal(0)
    item_count: int = 0
    created_at: Annotated[AwareDatetime, Index]


class CustomerName(ReadModel):
    """What a customer is called today."""

    id: Annotated[UUID, Key]
    name: str


@module.project
class OrderSummaries(Projection[OrderSummary | CustomerName]):
    """Keeps the order list."""

    @on
    def registered(self, event: CustomerRegistered, meta: Metadata) -> CustomerName:
        return CustomerName(id=meta.stream.id, name=event.name)

    @on
    def called(self, row: CustomerName, event: CustomerRenamed) -> CustomerName:
        return row.replace(name=event.name)

    @on(each="customer_id")
    def renamed(self, row: OrderSummary, event: CustomerRenamed) -> OrderSummary:
        return row.replace(customer_name=event.name)

    @on
    def created(
        self, event: events.OrderCreated, meta: Metadata, customer: Annotated[CustomerName | None, Key("customer_id")]
    ) -> OrderSummary:
        name = customer.name if customer else ""
        return OrderSummary(
            id=meta.stream.id, customer_id=event.customer_id, customer_name=name, created_at=event.placed_at
        )

    @on
    def item_added(self, row: OrderSummary, event: events.OrderItemAdded) -> OrderSummary:
        return row.replace(total_amount=row.total_amount + event.amount, item_count=row.item_count + 1)

    @on
    def item_removed(self, row: OrderSummary, event: events.OrderItemRemoved) -> OrderSummary:
        return row.replace(total_amount=row.total_amount - event.amount, item_count=row.item_count - 1)

    @on
    def moved(self, row: OrderSummary, event: events.OrderStatusChanged) -> OrderSummary:
        return row.replace(status=event.status)

    @on
    def cancelled(self, row: OrderSummary, event: events.OrderCancelled) -> OrderSummary:
        return row.replace(status=OrderStatus.CANCELLED)


class GetOrdersByCustomer(Query[Page[OrderSummary]]):
    """A customer's orders, the newest first: by number of the page, or on from a page's cursor."""

    customer_id: UUID
    status: OrderStatus | None = None
    page: PageNumber = 1
    page_size: PageSize = 20
    cursor: str | None = None


@module.query_handler
async def orders_of(query: GetOrdersByCustomer, read: ReadModels) -> Page[OrderSummary]:
    filters = given(customer_id=query.customer_id, status=query.status)
    return await read.page(
        OrderSummary, order_by="-created_at", size=query.page_size, page=query.page, after=query.cursor, **filters
    )


@router.get("/orders")
async def get_orders(query: Annotated[GetOrdersByCustomer, Parameter()], queries: Queries) -> Page[OrderSummary]:
    """A customer's orders, the newest first."""
    return await queries.dispatch(query)
