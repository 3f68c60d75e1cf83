import sqlite3
from typing import Annotated

from diptych import Db, DomainEvent, Key, Projection, ReadModel


class ProductSales(ReadModel):
    product: Annotated[str, Key]
    cents: int


class OrderShipped(DomainEvent):
    product: str
    cents: int


totals = sqlite3.connect("totals.db")


class Sales(Projection[ProductSales]):
    async def handle(self, event: OrderShipped, db: Db) -> None:
        totals.execute("UPDATE total SET cents = cents + ?", (event.cents,))
