from typing import Annotated

from diptych import Db, DomainEvent, Key, Projection, ReadModel


class ProductSales(ReadModel):
    product: Annotated[str, Key]
    cents: int


class OrderShipped(DomainEvent):
    product: str
    cents: int


class Sales(Projection[ProductSales]):
    async def handle(self, event: OrderShipped, db: Db) -> None:
        sql = "INSERT INTO product_sales (product, cents) VALUES (:product, :cents)"
        await db.execute(sql, product=event.product, cents=event.cents)
