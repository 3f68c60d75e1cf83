from typing import Annotated
from uuid import UUID

import httpx

from diptych import DomainEvent, Key, Metadata, Projection, ReadModel, on


class OrderPlaced(DomainEvent):
    email: str
    cents: int


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    cents: int


def send_mail(to: str, text: str) -> None:
    httpx.post("https://mail.example.com/send", json={"to": to, "text": text})


class OrderSummaries(Projection[OrderSummary]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderSummary:
        send_mail(event.email, f"We have your order of {event.cents / 100:.2f} EUR")
        return OrderSummary(id=meta.stream.id, cents=event.cents)
