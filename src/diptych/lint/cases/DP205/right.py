from typing import Annotated
from uuid import UUID

from diptych import Aggregate, DomainEvent, Key, Metadata, Projection, ReadModel, on


class OrderPlaced(DomainEvent):
    cents: int


class OrderFlagged(DomainEvent):
    why: str


class Order(Aggregate):
    def place(self, cents: int) -> None:
        self.record(OrderPlaced(cents=cents))
        if cents > 100_000:
            self.record(OrderFlagged(why="large"))


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    cents: int


class OrderSummaries(Projection[OrderSummary]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderSummary:
        return OrderSummary(id=meta.stream.id, cents=event.cents)
