import asyncio
from uuid import UUID

from diptych import Aggregate, App, Command, DomainEvent, Repository

app = App("sqlite:///shop.db")


class OrderShipped(DomainEvent):
    pass


class Order(Aggregate):
    def ship(self) -> None:
        self.record(OrderShipped())


class ShipOrder(Command):
    order_id: UUID


@app.command_handler
async def ship_order(command: ShipOrder, orders: Repository[Order]) -> None:
    await asyncio.sleep(0.5)
    (await orders.get(command.order_id)).ship()
