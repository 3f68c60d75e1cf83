from uuid import UUID

from diptych import Aggregate, App, Command, DomainError, DomainEvent, Repository, on

app = App("sqlite:///shop.db")


class OrderShipped(DomainEvent):
    pass


class AlreadyShippedError(DomainError):
    pass


class Order(Aggregate):
    is_shipped: bool = False

    def ship(self) -> None:
        if self.is_shipped:
            raise AlreadyShippedError("it is shipped already")
        self.record(OrderShipped())

    @on
    def _shipped(self, event: OrderShipped) -> None:
        self.is_shipped = True


class ShipOrder(Command):
    order_id: UUID


@app.command_handler
async def ship_order(command: ShipOrder, orders: Repository[Order]) -> None:
    (await orders.get(command.order_id)).ship()
