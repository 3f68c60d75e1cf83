from uuid import UUID

from diptych import Aggregate, App, Command, DomainError, DomainEvent, Repository

app = App("sqlite:///shop.db")


class OrderPlaced(DomainEvent):
    cents: int


class Customer(Aggregate):
    credit: int = 0


class Order(Aggregate):
    def place(self, cents: int, credit: int) -> None:
        if cents > credit:
            raise DomainError(f"{credit} cents of credit are not enough for {cents}")
        self.record(OrderPlaced(cents=cents))


class PlaceOrder(Command):
    order_id: UUID
    customer_id: UUID
    cents: int


@app.command_handler
async def place_order(command: PlaceOrder, orders: Repository[Order], customers: Repository[Customer]) -> None:
    customer = await customers.get(command.customer_id)
    order = await orders.get_or_new(command.order_id)
    order.place(command.cents, customer.credit)
