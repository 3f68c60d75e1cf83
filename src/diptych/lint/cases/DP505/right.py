from uuid import UUID

import httpx
from fastapi import FastAPI

from diptych import Aggregate, App, Command, DomainEvent, Repository
from diptych.web import Commands, install

app, api = App("sqlite:///shop.db"), FastAPI()
install(app, api)


class OrderPaid(DomainEvent):
    payment: str


class Order(Aggregate):
    def pay(self, payment: str) -> None:
        self.record(OrderPaid(payment=payment))


class PayOrder(Command):
    order_id: UUID
    payment: str


@app.command_handler
async def pay_order(command: PayOrder, orders: Repository[Order]) -> None:
    (await orders.get(command.order_id)).pay(command.payment)


@api.post("/orders/{order_id}/payment", status_code=204)
async def pay(order_id: UUID, card: str, cents: int, commands: Commands) -> None:
    async with httpx.AsyncClient() as client:
        body = {"card": card, "cents": cents, "key": str(order_id)}
        answer = await client.post("https://bank.example.com/pay", json=body)
    await commands.dispatch(PayOrder(order_id=order_id, payment=answer.text))
