"""How much of each product is sold: ordered, less what was taken off orders again, less what was credited."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from diptych import Index, Key, Metadata, Module, Projection, Query, ReadModel, ReadModels, on
from diptych.web import Queries
from examples.orders.credit_notes.domain import CreditNoteLineAdded
from examples.orders.inventory.domain import ProductRegistered, StockReleased
from examples.orders.orders.events import OrderItemAdded
from examples.orders.values import Money, PageSize

module, router = Module("product_sales"), APIRouter(tags=["reading"])


class ProductSales(ReadModel):
    """A product in numbers."""

    id: Annotated[UUID, Key]
    description: str
    quantity: int = 0
    revenue: Annotated[Money, Index] = Decimal(0)


@module.project
class Sales(Projection[ProductSales], name="product_sales"):
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


class GetProductSales(Query[ProductSales]):
    """One product in numbers."""

    product_id: UUID


class GetBestSellers(Query[list[ProductSales]]):
    """The products that bring most, the best first."""

    count: PageSize = 20


@module.query_handler
async def one(query: GetProductSales, read: ReadModels) -> ProductSales:
    return await read.one(ProductSales, query.product_id)


@module.query_handler
async def best(query: GetBestSellers, read: ReadModels) -> list[ProductSales]:
    return await read.find(ProductSales, order_by="-revenue", limit=query.count)


@router.get("/products")
async def get_best_sellers(queries: Queries, count: PageSize = 20) -> list[ProductSales]:
    """The products that bring most, the best first."""
    return await queries.dispatch(GetBestSellers(count=count))


@router.get("/products/{product_id}")
async def get_product(product_id: UUID, queries: Queries) -> ProductSales:
    """One product in numbers."""
    return await queries.dispatch(GetProductSales(product_id=product_id))
