"""Notes on orders, and where they stand."""

from typing import Annotated
from uuid import UUID

from diptych import Aggregate, DomainEvent, Key, Metadata, Projection, ReadModel, on


class OrderPlaced(DomainEvent):
    customer_id: UUID


class OrderNoted(DomainEvent):
    """Somebody wrote something on the order."""

    note: str


class Order(Aggregate):
    is_placed: bool = False

    @on
    def placed(self, event: OrderPlaced) -> None:
        self.is_placed = True


class OrderRow(ReadModel):
    id: Annotated[UUID, Key]
    customer_id: UUID


class OrderRows(Projection[OrderRow]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderRow:
        return OrderRow(id=meta.stream.id, customer_id=event.customer_id)
