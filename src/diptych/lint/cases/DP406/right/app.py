from uuid import UUID

from diptych import Aggregate, App, Command, DomainEvent, Repository, on


class OrderPlaced(DomainEvent, version=3):
    cents: int


class Order(Aggregate):
    cents: int = 0

    def place(self, cents: int) -> None:
        self.record(OrderPlaced(cents=cents))

    @on
    def _placed(self, event: OrderPlaced) -> None:
        self.cents = event.cents


class PlaceOrder(Command):
    order_id: UUID
    cents: int


app = App("memory:")


@app.command_handler
async def place_order(command: PlaceOrder, orders: Repository[Order]) -> None:
    (await orders.get_or_new(command.order_id)).place(command.cents)


@app.upcast("OrderPlaced", from_version=1)
def in_cents(old: dict) -> dict:
    return {"cents": int(old["euros"]) * 100}


@app.upcast("OrderPlaced", from_version=2)
def never_below_nothing(old: dict) -> dict:
    return {"cents": max(0, old["cents"])}
