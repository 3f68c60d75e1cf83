from uuid import UUID

from fastapi import FastAPI

from diptych import Aggregate, App, DomainEvent, Repository
from diptych.web import install

app, api = App("sqlite:///shop.db"), FastAPI()
install(app, api)


class OrderCancelled(DomainEvent):
    reason: str


class Order(Aggregate):
    def cancel(self, reason: str) -> None:
        self.record(OrderCancelled(reason=reason))


orders = Repository(Order)


@api.post("/orders/{order_id}/cancel", status_code=204)
async def cancel_order(order_id: UUID, reason: str) -> None:
    order = await orders.get(order_id)
    order.cancel(reason)
