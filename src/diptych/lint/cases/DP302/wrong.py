from uuid import UUID, uuid4

from diptych import Aggregate, DomainEvent, on


class OrderShipped(DomainEvent):
    carrier: str


class Order(Aggregate):
    parcel_id: UUID | None = None

    def ship(self, carrier: str) -> None:
        self.record(OrderShipped(carrier=carrier))

    @on
    def _shipped(self, event: OrderShipped) -> None:
        self.parcel_id = uuid4()
