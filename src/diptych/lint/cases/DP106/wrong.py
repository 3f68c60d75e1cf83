from uuid import UUID

from diptych import Aggregate, App, Command, DomainError, DomainEvent, Repository, on

app = App("sqlite:///shop.db")


class CreditUsed(DomainEvent):
    cents: int


class OrderPlaced(DomainEvent):
    cents: int


class Customer(Aggregate):
    credit: int = 0

    def use_credit(self, cents: int) -> None:
        if cents > self.credit:
            raise DomainError(f"{self.id} has only {self.credit} cents of credit")
        self.record(CreditUsed(cents=cents))

    @on
    def _used(self, event: CreditUsed) -> None:
        self.credit -= event.cents


class Order(Aggregate):
    def place(self, customer: Customer, cents: int) -> None:
        customer.use_credit(cents)
        self.record(OrderPlaced(cents=cents))


class PlaceOrder(Command):
    order_id: UUID
    customer_id: UUID
    cents: int


@app.command_handler
async def place_order(command: PlaceOrder, orders: Repository[Order], customers: Repository[Customer]) -> None:
    order = await orders.get_or_new(command.order_id)
    order.place(await customers.get(command.customer_id), command.cents)
