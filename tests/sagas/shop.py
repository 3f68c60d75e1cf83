"""A small shop whose orders are carried by a saga: stock is reserved, money waited for, and the order shipped."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from diptych import (
    Aggregate,
    App,
    Clock,
    Command,
    DomainError,
    DomainEvent,
    Module,
    Rejected,
    Repository,
    Saga,
    Timeout,
    on,
)


class OrderPlaced(DomainEvent):
    product_id: UUID
    quantity: int


class OrderPaid(DomainEvent):
    pass


class OrderCancelled(DomainEvent):
    reason: str


class OrderShipped(DomainEvent):
    pass


class Order(Aggregate):
    status: str = "new"

    def place(self, product_id: UUID, quantity: int) -> None:
        self.record(OrderPlaced(product_id=product_id, quantity=quantity))

    def pay(self) -> None:
        self.record(OrderPaid())

    def cancel(self, reason: str) -> None:
        if self.status == "shipped":
            raise AlreadyShippedError("It is shipped")
        self.record(OrderCancelled(reason=reason))

    def ship(self) -> None:
        self.record(OrderShipped())

    @on
    def _shipped(self, event: OrderShipped) -> None:
        self.status = "shipped"


class AlreadyShippedError(DomainError):
    pass


class StockAdded(DomainEvent):
    quantity: int


class StockReserved(DomainEvent):
    order_id: UUID
    quantity: int


class StockReleased(DomainEvent):
    order_id: UUID


class OutOfStockError(DomainError):
    pass


class Stock(Aggregate):
    available: int = 0
    reserved: dict[UUID, int] = {}

    def add(self, quantity: int) -> None:
        self.record(StockAdded(quantity=quantity))

    def reserve(self, order_id: UUID, quantity: int) -> None:
        if quantity > self.available:
            raise OutOfStockError(f"{self.available} left")
        self.record(StockReserved(order_id=order_id, quantity=quantity))

    def release(self, order_id: UUID) -> None:
        if order_id in self.reserved:
            self.record(StockReleased(order_id=order_id))

    @on
    def _added(self, event: StockAdded) -> None:
        self.available += event.quantity

    @on
    def _reserved(self, event: StockReserved) -> None:
        self.available -= event.quantity
        self.reserved[event.order_id] = event.quantity

    @on
    def _released(self, event: StockReleased) -> None:
        self.available += self.reserved.pop(event.order_id)


class PlaceOrder(Command):
    order_id: UUID
    product_id: UUID
    quantity: int


class PayOrder(Command):
    order_id: UUID


class CancelOrder(Command):
    order_id: UUID
    reason: str


class ShipOrder(Command):
    order_id: UUID


class AddStock(Command):
    product_id: UUID
    quantity: int


class ReserveStock(Command):
    product_id: UUID
    order_id: UUID
    quantity: int


class ReleaseStock(Command):
    product_id: UUID
    order_id: UUID


class PaymentDue(Timeout):
    pass


class Fulfilment(Saga):
    """Reserve, wait half an hour for the money, ship; or cancel and release."""

    product_id: UUID | None = None
    is_reserved: bool = False

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        self.product_id = event.product_id
        self.dispatch(ReserveStock(product_id=event.product_id, order_id=self.id, quantity=event.quantity))
        self.schedule(PaymentDue(), after=timedelta(minutes=30))

    @on(key="order_id")
    def reserved(self, event: StockReserved) -> None:
        self.is_reserved = True

    @on
    def paid(self, event: OrderPaid) -> None:
        self.cancel(PaymentDue)
        self.dispatch(ShipOrder(order_id=self.id))

    @on
    def shipped(self, event: OrderShipped) -> None:
        self.complete()

    @on
    def refused(self, rejection: Rejected[ReserveStock]) -> None:
        self.dispatch(CancelOrder(order_id=self.id, reason=rejection.message))

    @on
    def unpaid(self, timeout: PaymentDue) -> None:
        self.dispatch(CancelOrder(order_id=self.id, reason="not paid"))

    @on
    def cancelled(self, event: OrderCancelled) -> None:
        if self.is_reserved and self.product_id is not None:
            self.dispatch(ReleaseStock(product_id=self.product_id, order_id=self.id))
        self.complete()


def shop() -> Module:
    """The commands of the shop."""
    module = Module("shop")

    @module.command_handler
    async def place(command: PlaceOrder, orders: Repository[Order]) -> None:
        (await orders.get_or_new(command.order_id)).place(command.product_id, command.quantity)

    @module.command_handler
    async def pay(command: PayOrder, orders: Repository[Order]) -> None:
        (await orders.get(command.order_id)).pay()

    @module.command_handler
    async def cancel(command: CancelOrder, orders: Repository[Order]) -> None:
        (await orders.get(command.order_id)).cancel(command.reason)

    @module.command_handler
    async def ship(command: ShipOrder, orders: Repository[Order]) -> None:
        (await orders.get(command.order_id)).ship()

    @module.command_handler
    async def add(command: AddStock, stocks: Repository[Stock]) -> None:
        (await stocks.get_or_new(command.product_id)).add(command.quantity)

    @module.command_handler
    async def reserve(command: ReserveStock, stocks: Repository[Stock]) -> None:
        (await stocks.get_or_new(command.product_id)).reserve(command.order_id, command.quantity)

    @module.command_handler
    async def release(command: ReleaseStock, stocks: Repository[Stock]) -> None:
        (await stocks.get(command.product_id)).release(command.order_id)

    return module


def shop_app(url: str, clock: Clock | None = None, saga: type[Saga] = Fulfilment, **options: Any) -> App:
    """The shop with its saga."""
    app = App(url, mode="development", **options)
    app.include(shop())
    app.saga(saga)
    if clock is not None:
        app.provide(Clock, clock)
    return app
