from uuid import UUID

from diptych import Aggregate, App, Command, DomainEvent, Repository

app = App("sqlite:///shop.db")


class PointsEarned(DomainEvent):
    points: int


class OrderPlaced(DomainEvent):
    cents: int


class Customer(Aggregate):
    def earn(self, points: int) -> None:
        self.record(PointsEarned(points=points))


class Order(Aggregate):
    def place(self, cents: int) -> None:
        self.record(OrderPlaced(cents=cents))


class PlaceOrder(Command):
    order_id: UUID
    cents: int


class EarnPoints(Command):
    customer_id: UUID
    points: int


@app.command_handler
async def place_order(command: PlaceOrder, orders: Repository[Order]) -> None:
    (await orders.get_or_new(command.order_id)).place(command.cents)


@app.command_handler
async def earn_points(command: EarnPoints, customers: Repository[Customer]) -> None:
    (await customers.get(command.customer_id)).earn(command.points)
