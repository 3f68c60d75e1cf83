from diptych import Aggregate, DomainEvent, on


class OrderShipped(DomainEvent):
    pass


class Order(Aggregate):
    is_paid: bool = False

    def ship(self) -> None:
        self.record(OrderShipped())

    @on
    def _shipped(self, event: OrderShipped) -> None:
        if not self.is_paid:
            raise ValueError("not paid")
