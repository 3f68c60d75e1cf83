import sqlite3
from typing import Annotated
from uuid import UUID

from diptych import Aggregate, App, Command, DomainEvent, Key, Metadata, Projection, ReadModel, Repository, on


app = App("sqlite:///shop.db")


class OrderPlaced(DomainEvent):
    total_cents: int


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    total_cents: int


class OrderSummaries(Projection[OrderSummary]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderSummary:
        return OrderSummary(id=meta.stream.id, total_cents=event.total_cents)


class Order(Aggregate):
    def place(self, total_cents: int) -> None:
        self.record(OrderPlaced(total_cents=total_cents))


class PlaceOrder(Command):
    order_id: UUID
    total_cents: int


@app.command_handler
async def place_order(command: PlaceOrder, orders: Repository[Order]) -> None:
    order = await orders.get_or_new(command.order_id)
    order.place(command.total_cents)
    with sqlite3.connect("shop.views.db") as views:
        views.execute("UPDATE order_summary SET total_cents = ? WHERE id = ?", (command.total_cents, str(command.order_id)))
