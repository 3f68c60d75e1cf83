from datetime import UTC, datetime
from uuid import UUID

from pydantic import AwareDatetime

from diptych import Aggregate, Command, DomainEvent


class CancelOrder(Command):
    order_id: UUID
    reason: str


class OrderCancelled(DomainEvent):
    reason: str
    at: AwareDatetime


class Order(Aggregate):
    def cancel(self, command: CancelOrder) -> None:
        self.record(OrderCancelled(reason=command.reason, at=datetime.now(UTC)))
