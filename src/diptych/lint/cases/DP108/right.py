from uuid import UUID

from fastapi import FastAPI

from diptych import Aggregate, App, Command, DomainEvent, Repository
from diptych.web import Commands, install

app, api = App("sqlite:///shop.db"), FastAPI()
install(app, api)


class OrderCancelled(DomainEvent):
    reason: str


class Order(Aggregate):
    def cancel(self, reason: str) -> None:
        self.record(OrderCancelled(reason=reason))


class CancelOrder(Command):
    order_id: UUID
    reason: str


@app.command_handler
async def cancel(command: CancelOrder, orders: Repository[Order]) -> None:
    (await orders.get(command.order_id)).cancel(command.reason)


@api.post("/orders/{order_id}/cancel", status_code=204)
async def cancel_order(order_id: UUID, reason: str, commands: Commands) -> None:
    await commands.dispatch(CancelOrder(order_id=order_id, reason=reason))
