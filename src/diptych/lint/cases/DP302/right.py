from uuid import UUID

from diptych import Aggregate, DomainEvent, on


class OrderShipped(DomainEvent):
    carrier: str
    parcel_id: UUID


class Order(Aggregate):
    parcel_id: UUID | None = None

    def ship(self, carrier: str, parcel_id: UUID) -> None:
        self.record(OrderShipped(carrier=carrier, parcel_id=parcel_id))

    @on
    def _shipped(self, event: OrderShipped) -> None:
        self.parcel_id = event.parcel_id
