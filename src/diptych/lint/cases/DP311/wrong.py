from datetime import UTC, datetime, timedelta
from uuid import UUID

from diptych import DomainEvent, Metadata, Saga, Timeout, on


class OrderPlaced(DomainEvent):
    order_id: UUID


class Unpaid(Timeout):
    order_id: UUID


class Fulfilment(Saga):
    @on(starts=True)
    def placed(self, event: OrderPlaced, meta: Metadata) -> None:
        self.schedule(Unpaid(order_id=event.order_id), at=datetime.now(UTC) + timedelta(minutes=30))
