from diptych import Aggregate, DomainEvent


class OrderShipped(DomainEvent):
    pass


class Order(Aggregate):
    is_shipped: bool = False

    def ship(self) -> None:
        if not self.is_shipped:
            self.record(OrderShipped())
