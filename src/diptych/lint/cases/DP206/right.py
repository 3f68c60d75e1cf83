from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime

from diptych import DomainEvent, Key, Metadata, Projection, ReadModel, on


class OrderPlaced(DomainEvent):
    cents: int


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    cents: int
    placed_at: AwareDatetime


class OrderSummaries(Projection[OrderSummary]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderSummary:
        return OrderSummary(id=meta.stream.id, cents=event.cents, placed_at=meta.recorded_at)
