from diptych import Aggregate, DomainError, DomainEvent, on


class OrderShipped(DomainEvent):
    pass


class NotPaidError(DomainError):
    pass


class Order(Aggregate):
    is_paid: bool = False
    is_shipped: bool = False

    def ship(self) -> None:
        if not self.is_paid:
            raise NotPaidError(f"{self.id} is not paid")
        self.record(OrderShipped())

    @on
    def _shipped(self, event: OrderShipped) -> None:
        self.is_shipped = True
