from uuid import UUID

from diptych import Aggregate, App, Command, DomainEvent, Repository

app = App("sqlite:///shop.db")


class OrderPlaced(DomainEvent):
    cents: int


class Prices:
    async def of(self, sku: str) -> int:
        return 450 if sku == "tea" else 1200


class Order(Aggregate):
    def place(self, cents: int) -> None:
        self.record(OrderPlaced(cents=cents))


class PlaceOrder(Command):
    order_id: UUID
    sku: str


@app.command_handler
async def place_order(command: PlaceOrder, orders: Repository[Order], prices: Prices) -> None:
    cents = await prices.of(command.sku)
    (await orders.get_or_new(command.order_id)).place(cents)


app.provide(Prices, Prices)
