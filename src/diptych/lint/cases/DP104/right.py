from typing import Annotated
from uuid import UUID

from diptych import (
    Aggregate,
    App,
    Command,
    DomainError,
    DomainEvent,
    Key,
    Metadata,
    Projection,
    ReadModel,
    Repository,
    on,
)


app = App("sqlite:///shop.db")


class WrongAmountError(DomainError):
    pass


class OrderPaid(DomainEvent):
    pass


class OrderPlaced(DomainEvent):
    total_cents: int


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    total_cents: int


class OrderSummaries(Projection[OrderSummary]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderSummary:
        return OrderSummary(id=meta.stream.id, total_cents=event.total_cents)


class Order(Aggregate):
    total_cents: int = 0

    def pay(self, cents: int) -> None:
        if cents != self.total_cents:
            raise WrongAmountError(f"{cents} cents are not what is owed")
        self.record(OrderPaid())

    @on
    def _placed(self, event: OrderPlaced) -> None:
        self.total_cents = event.total_cents


class PayOrder(Command):
    order_id: UUID
    cents: int


@app.command_handler
async def pay_order(command: PayOrder, orders: Repository[Order]) -> None:
    (await orders.get(command.order_id)).pay(command.cents)
