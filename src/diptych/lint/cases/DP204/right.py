from typing import Annotated
from uuid import UUID

from fastapi import FastAPI

from diptych import App, Command, DomainEvent, Key, Metadata, Projection, ReadModel, id_for, on
from diptych.web import Commands, install

app, api = App("sqlite:///shop.db"), FastAPI()
install(app, api)


class OrderPaid(DomainEvent):
    cents: int


class PayOrder(Command):
    order_id: UUID
    cents: int


class ShipOrder(Command):
    order_id: UUID


class Payment(ReadModel):
    order_id: Annotated[UUID, Key]
    cents: int


@app.project
class Payments(Projection[Payment]):
    @on
    def paid(self, event: OrderPaid, meta: Metadata) -> Payment:
        return Payment(order_id=meta.stream.id, cents=event.cents)


@api.post("/payments", status_code=204)
async def pay(command: PayOrder, commands: Commands) -> None:
    paid = await commands.dispatch(command)
    ship = ShipOrder(order_id=command.order_id)
    await commands.dispatch(ship, command_id=id_for("ship", str(paid.command_id)))
