from diptych import Aggregate, DomainEvent


class OrderShipped(DomainEvent):
    pass


class Order(Aggregate):
    is_shipped: bool = False

    def ship(self) -> None:
        self.is_shipped = True
        self.record(OrderShipped())
