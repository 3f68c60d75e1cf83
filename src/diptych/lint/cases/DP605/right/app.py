from typing import Annotated
from uuid import UUID

from diptych import Aggregate, App, Command, DomainEvent, Key, Metadata, Projection, ReadModel, Repository, on


class OrderPlaced(DomainEvent):
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


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    cents: int


@app.project
class OrderSummaries(Projection[OrderSummary]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderSummary:
        return OrderSummary(id=meta.stream.id, cents=event.cents)
