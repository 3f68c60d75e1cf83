from uuid import UUID

import httpx

from diptych import DomainEvent, Saga, on


class OrderPlaced(DomainEvent):
    order_id: UUID
    cents: int


class Fulfilment(Saga):
    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        httpx.post("https://pay.example/charges", json={"order": str(event.order_id), "cents": event.cents})
