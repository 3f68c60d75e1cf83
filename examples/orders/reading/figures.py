"""The shop in figures: what each customer orders, what each product sells, what each day brings.

Three tables of the same events. Credit notes are counted apart; what is taken off an order or cancelled is taken off
the day it was placed on.
"""

from datetime import date
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from diptych import Index, Key, Metadata, Module, Projection, Query, ReadModel, ReadModels, on
from examples.orders.caller import Route
from examples.orders.credit_notes import CreditNoteLineAdded
from examples.orders.customers import CustomerRegistered, CustomerRenamed
from examples.orders.inventory import ProductRegistered, StockReleased
from examples.orders.orders import OrderCancelled, OrderCreated, OrderItemAdded, OrderItemRemoved
from examples.orders.values import Money, PageSize

module, router = Module("figures"), APIRouter(tags=["reading"], route_class=Route)


class CustomerTotals(ReadModel):
    """A customer in numbers. Cancelled orders count no more."""

    id: Annotated[UUID, Key]
    name: str
    orders: int = 0
    ordered: Money = Decimal(0)
    credited: Money = Decimal(0)


@module.project
class Customers(Projection[CustomerTotals], name="customer_totals"):
    """Keeps the customers' numbers."""

    @on
    def registered(self, event: CustomerRegistered, meta: Metadata) -> CustomerTotals:
        return CustomerTotals(id=meta.stream.id, name=event.name)

    @on
    def renamed(self, row: CustomerTotals, event: CustomerRenamed) -> CustomerTotals:
        return row.replace(name=event.name)

    @on(key="customer_id")
    def created(self, row: CustomerTotals, event: OrderCreated) -> CustomerTotals:
        return row.replace(orders=row.orders + 1)

    @on(key="customer_id")
    def items_changed(self, row: CustomerTotals, event: OrderItemAdded | OrderItemRemoved) -> CustomerTotals:
        return row.replace(ordered=row.ordered + event.amount)

    @on(key="customer_id")
    def cancelled(self, row: CustomerTotals, event: OrderCancelled) -> CustomerTotals:
        return row.replace(orders=row.orders - 1, ordered=row.ordered + event.amount)

    @on(key="customer_id")
    def credited(self, row: CustomerTotals, event: CreditNoteLineAdded) -> CustomerTotals:
        return row.replace(credited=row.credited + event.amount)


@router.get("/customers/{customer_id}")
class GetCustomerTotals(Query[CustomerTotals]):
    """One customer in numbers."""

    customer_id: UUID


@module.query_handler
async def customer_totals(query: GetCustomerTotals, read: ReadModels) -> CustomerTotals:
    return await read.one(CustomerTotals, query.customer_id)


class ProductSales(ReadModel):
    """A product in numbers: ordered, less what was taken off orders again, less what was credited."""

    id: Annotated[UUID, Key]
    description: str
    quantity: int = 0
    revenue: Annotated[Money, Index] = Decimal(0)


@module.project
class Products(Projection[ProductSales], name="product_sales"):
    """Keeps the products' numbers."""

    @on
    def registered(self, event: ProductRegistered, meta: Metadata) -> ProductSales:
        return ProductSales(id=meta.stream.id, description=event.description)

    @on(key="product_id")
    def sold(self, row: ProductSales, event: OrderItemAdded) -> ProductSales:
        return row.replace(quantity=row.quantity + event.quantity, revenue=row.revenue + event.amount)

    @on
    def taken_back(self, row: ProductSales, event: StockReleased) -> ProductSales:
        return row.replace(quantity=row.quantity - event.quantity, revenue=row.revenue - event.value)

    @on(key="product_id")
    def credited(self, row: ProductSales, event: CreditNoteLineAdded) -> ProductSales:
        return row.replace(quantity=row.quantity - event.quantity, revenue=row.revenue - event.amount)


@router.get("/products/{product_id}")
class GetProductSales(Query[ProductSales]):
    """One product in numbers."""

    product_id: UUID


@module.query_handler
async def product_sales(query: GetProductSales, read: ReadModels) -> ProductSales:
    return await read.one(ProductSales, query.product_id)


@router.get("/products")
class GetBestSellers(Query[list[ProductSales]]):
    """The products that bring most, the best first."""

    count: PageSize = 20


@module.query_handler
async def best_sellers(query: GetBestSellers, read: ReadModels) -> list[ProductSales]:
    return await read.find(ProductSales, order_by="-revenue", limit=query.count)


class RevenuePerDay(ReadModel):
    """A day (in UTC) in numbers."""

    day: Annotated[date, Key]
    ordered: Money = Decimal(0)
    credited: Money = Decimal(0)


@module.project
class Days(Projection[RevenuePerDay], name="revenue"):
    """Keeps the days' numbers."""

    @on(key="placed_on")
    def ordered(
        self, row: RevenuePerDay | None, event: OrderItemAdded | OrderItemRemoved | OrderCancelled
    ) -> RevenuePerDay:
        row = row or RevenuePerDay(day=event.placed_on)
        return row.replace(ordered=row.ordered + event.amount)

    @on(key="issued_on")
    def credited(self, row: RevenuePerDay | None, event: CreditNoteLineAdded) -> RevenuePerDay:
        row = row or RevenuePerDay(day=event.issued_on)
        return row.replace(credited=row.credited + event.amount)


@router.get("/revenue")
class GetRevenue(Query[list[RevenuePerDay]]):
    """The days from `first` to `last`, both included, in order."""

    first: date = date.min
    last: date = date.max


@module.query_handler
async def revenue(query: GetRevenue, read: ReadModels) -> list[RevenuePerDay]:
    return await read.find(RevenuePerDay, order_by="day", day__ge=query.first, day__le=query.last)
