from uuid import UUID

import httpx

from diptych import Aggregate, App, Command, DomainEvent, Repository

app = App("sqlite:///shop.db")


class OrderPaid(DomainEvent):
    payment: str


class Order(Aggregate):
    cents: int = 0

    def pay(self, payment: str) -> None:
        self.record(OrderPaid(payment=payment))


class PayOrder(Command):
    order_id: UUID
    card: str


@app.command_handler
async def pay_order(command: PayOrder, orders: Repository[Order], client: httpx.AsyncClient) -> None:
    order = await orders.get(command.order_id)
    answer = await client.post("https://bank.example.com/pay", json={"card": command.card, "cents": order.cents})
    order.pay(answer.text)
