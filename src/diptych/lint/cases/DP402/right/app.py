from diptych import Aggregate, App, DomainEvent, on


class OrderReceived(DomainEvent, name="OrderPlaced"):
    customer: str


class Order(Aggregate):
    is_placed: bool = False

    def place(self, customer: str) -> None:
        self.record(OrderReceived(customer=customer))

    @on
    def _placed(self, event: OrderReceived) -> None:
        self.is_placed = True


app = App("sqlite:///orders.db")
