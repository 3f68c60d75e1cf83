"""What each customer has ordered and got back."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from diptych import Key, Metadata, Module, Projection, Query, ReadModel, ReadModels, on
from diptych.web import Queries
from examples.orders.credit_notes.domain import CreditNoteLineAdded
from examples.orders.customers.domain import CustomerRegistered, CustomerRenamed
from examples.orders.orders import events
from examples.orders.values import Money

module, router = Module("customer_totals"), APIRouter(tags=["reading"])


class CustomerTotals(ReadModel):
    """A customer in numbers. Cancelled orders count no more."""

    id: Annotated[UUID, Key]
    name: str
    orders: int = 0
    ordered: Money = Decimal(0)
    credited: Money = Decimal(0)


@module.project
class Totals(Projection[CustomerTotals], name="customer_totals"):
    """Keeps the customers' numbers."""

    @on
    def registered(self, event: CustomerRegistered, meta: Metadata) -> CustomerTotals:
        return CustomerTotals(id=meta.stream.id, name=event.name)

    @on
    def renamed(self, row: CustomerTotals, event: CustomerRenamed) -> CustomerTotals:
        return row.replace(name=event.name)

    @on(key="customer_id")
    def created(self, row: CustomerTotals, event: events.OrderCreated) -> CustomerTotals:
        return row.replace(orders=row.orders + 1)

    @on(key="customer_id")
    def item_added(self, row: CustomerTotals, event: events.OrderItemAdded) -> CustomerTotals:
        return row.replace(ordered=row.ordered + event.amount)

    @on(key="customer_id")
    def item_removed(self, row: CustomerTotals, event: events.OrderItemRemoved) -> CustomerTotals:
        return row.replace(ordered=row.ordered - event.amount)

    @on(key="customer_id")
    def cancelled(self, row: CustomerTotals, event: events.OrderCancelled) -> CustomerTotals:
        return row.replace(orders=row.orders - 1, ordered=row.ordered - event.total_amount)

    @on(key="customer_id")
    def credited(self, row: CustomerTotals, event: CreditNoteLineAdded) -> CustomerTotals:
        return row.replace(credited=row.credited + event.amount)


class GetCustomerTotals(Query[CustomerTotals]):
    """One customer in numbers."""

    customer_id: UUID


@module.query_handler
async def one(query: GetCustomerTotals, read: ReadModels) -> CustomerTotals:
    return await read.one(CustomerTotals, query.customer_id)


@router.get("/customers/{customer_id}")
async def get_customer(customer_id: UUID, queries: Queries) -> CustomerTotals:
    """One customer in numbers."""
    return await queries.dispatch(GetCustomerTotals(customer_id=customer_id))
