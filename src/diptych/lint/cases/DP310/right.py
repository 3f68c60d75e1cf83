from uuid import UUID

import httpx

from diptych import DomainEvent, IdempotencyKey, Steps, on, step


class OrderPlaced(DomainEvent):
    order_id: UUID
    cents: int


class Fulfilment(Steps):
    order_id: UUID | None = None
    cents: int = 0

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        self.order_id, self.cents = event.order_id, event.cents

    @step
    async def charge(self, key: IdempotencyKey, provider: httpx.AsyncClient) -> None:
        body = {"order": str(self.order_id), "cents": self.cents}
        answer = await provider.post("https://pay.example/charges", json=body, headers={"Idempotency-Key": key})
        answer.raise_for_status()
