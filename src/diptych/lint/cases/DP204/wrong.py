from typing import Annotated
from uuid import UUID

from diptych import App, Command, Db, DomainEvent, Key, Metadata, Projection, ReadModel

app = App("sqlite:///shop.db")


class OrderPaid(DomainEvent):
    cents: int


class ShipOrder(Command):
    order_id: UUID


class Payment(ReadModel):
    order_id: Annotated[UUID, Key]
    cents: int


@app.project
class Payments(Projection[Payment]):
    async def handle(self, event: OrderPaid, meta: Metadata, db: Db) -> None:
        await db.execute(
            "INSERT INTO payment (order_id, cents) VALUES (:id, :cents) "
            "ON CONFLICT (order_id) DO UPDATE SET cents = excluded.cents",
            id=meta.stream.id,
            cents=event.cents,
        )
        await app.commands.dispatch(ShipOrder(order_id=meta.stream.id))
