from diptych import Aggregate, App, DomainEvent, on


class OrderPlaced(DomainEvent, version=2):
    customer: str


class Order(Aggregate):
    is_placed: bool = False

    def place(self, customer: str) -> None:
        self.record(OrderPlaced(customer=customer))

    @on
    def _placed(self, event: OrderPlaced) -> None:
        self.is_placed = True


app = App("sqlite:///orders.db")


@app.upcast("OrderPlaced", from_version=1)
def without_note(old: dict) -> dict:
    return {"customer": old["customer"]}
