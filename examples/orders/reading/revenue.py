"""Revenue for each day (in UTC). What is taken off or cancelled comes off the day the order was placed."""

from datetime import date
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter
from fastapi import Query as Parameter

from diptych import Key, Module, Projection, Query, ReadModel, ReadModels, on
from diptych.web import Queries
from examples.orders.credit_notes.domain import CreditNoteLineAdded
from examples.orders.orders.events import OrderCancelled, OrderItemAdded, OrderItemRemoved
from examples.orders.values import Money

module, router = Module("revenue"), APIRouter(tags=["reading"])


class RevenuePerDay(ReadModel):
    """A day in numbers."""

    day: Annotated[date, Key]
    ordered: Money = Decimal(0)
    credited: Money = Decimal(0)


@module.project
class Revenue(Projection[RevenuePerDay]):
    """Keeps the days' numbers."""

    @on(key="placed_on")
    def item_added(self, row: RevenuePerDay | None, event: OrderItemAdded) -> RevenuePerDay:
        row = row or RevenuePerDay(day=event.placed_on)
        return row.replace(ordered=row.ordered + event.amount)

    @on(key="placed_on")
    def item_removed(self, row: RevenuePerDay, event: OrderItemRemoved) -> RevenuePerDay:
        return row.replace(ordered=row.ordered - event.amount)

    @on(key="placed_on")
    def cancelled(self, row: RevenuePerDay, event: OrderCancelled) -> RevenuePerDay:
        return row.replace(ordered=row.ordered - event.total_amount)

    @on(key="issued_on")
    def credited(self, row: RevenuePerDay | None, event: CreditNoteLineAdded) -> RevenuePerDay:
        row = row or RevenuePerDay(day=event.issued_on)
        return row.replace(credited=row.credited + event.amount)


class GetRevenue(Query[list[RevenuePerDay]]):
    """The days from `first` to `last`, both included, in order."""

    first: date = date.min
    last: date = date.max


@module.query_handler
async def days(query: GetRevenue, read: ReadModels) -> list[RevenuePerDay]:
    return await read.find(RevenuePerDay, order_by="day", day__ge=query.first, day__le=query.last)


@router.get("/revenue")
async def get_revenue(query: Annotated[GetRevenue, Parameter()], queries: Queries) -> list[RevenuePerDay]:
    """Revenue day by day, from `first` to `last`."""
    return await queries.dispatch(query)
