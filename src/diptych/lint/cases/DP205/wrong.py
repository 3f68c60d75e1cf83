from typing import Annotated
from uuid import UUID

from diptych import Aggregate, DomainEvent, Key, Metadata, Projection, ReadModel, on


class OrderPlaced(DomainEvent):
    cents: int


class OrderFlagged(DomainEvent):
    why: str


class Order(Aggregate):
    pass


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    cents: int


class OrderSummaries(Projection[OrderSummary]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderSummary:
        if event.cents > 100_000:
            Order(meta.stream.id).record(OrderFlagged(why="large"))
        return OrderSummary(id=meta.stream.id, cents=event.cents)
