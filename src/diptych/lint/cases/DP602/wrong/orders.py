"""Orders: placed, and cancelled."""

from uuid import UUID

from diptych import Aggregate, Command, DomainEvent, on


class OrderPlaced(DomainEvent):
    customer_id: UUID


class OrderCancelled(DomainEvent):
    reason: str


class PlaceOrder(Command[UUID]):
    customer_id: UUID


class CancelOrder(Command):
    order_id: UUID
    reason: str


class Order(Aggregate):
    is_open: bool = False

    @classmethod
    def place(cls, order_id: UUID, customer_id: UUID) -> "Order":
        order = cls(order_id)
        order.record(OrderPlaced(customer_id=customer_id))
        return order

    def cancel(self, reason: str) -> None:
        if self.is_open:
            self.record(OrderCancelled(reason=reason))

    @on
    def placed(self, event: OrderPlaced) -> None:
        self.is_open = True

    @on
    def cancelled(self, event: OrderCancelled) -> None:
        self.is_open = False
