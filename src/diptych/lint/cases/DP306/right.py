from diptych import Aggregate, DomainEvent, on


class OrderShipped(DomainEvent):
    pass


class Order(Aggregate):
    is_shipped: bool = False

    def ship(self) -> None:
        if not self.is_shipped:
            self.record(OrderShipped())

    @on
    def _shipped(self, event: OrderShipped) -> None:
        self.is_shipped = True
