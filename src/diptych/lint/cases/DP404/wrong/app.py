from diptych import Aggregate, App, DomainEvent, on


class OrderPlaced(DomainEvent):
    customer: str
    channel: str


class Order(Aggregate):
    is_placed: bool = False

    def place(self, customer: str, channel: str) -> None:
        self.record(OrderPlaced(customer=customer, channel=channel))

    @on
    def _placed(self, event: OrderPlaced) -> None:
        self.is_placed = True


app = App("sqlite:///orders.db")
