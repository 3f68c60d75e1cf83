from typing import Annotated
from uuid import UUID

from diptych import Db, DomainEvent, Key, Metadata, Projection, ReadModel, on


class OrderPlaced(DomainEvent):
    total_cents: int


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    total_cents: int


class OrderSummaries(Projection[OrderSummary]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderSummary:
        return OrderSummary(id=meta.stream.id, total_cents=event.total_cents)


class ProductSales(ReadModel):
    product: Annotated[str, Key]
    cents: int


class OrderShipped(DomainEvent):
    product: str
    cents: int


class Sales(Projection[ProductSales]):
    async def handle(self, event: OrderShipped, db: Db) -> None:
        await db.execute(
            "INSERT INTO product_sales (product, cents) VALUES (:product, :cents) "
            "ON CONFLICT (product) DO UPDATE SET cents = product_sales.cents + excluded.cents",
            product=event.product,
            cents=event.cents,
        )
