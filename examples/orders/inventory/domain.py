"""The stock of one product: what is on the shelf and free, and what is set aside for orders."""

from decimal import Decimal
from typing import Self
from uuid import UUID

from diptych import Aggregate, DomainError, DomainEvent, on


class InsufficientInventoryError(DomainError):
    """There is not enough of a product for an order."""

    status = 400

    def __init__(self, product_id: UUID, wanted: int, available: int) -> None:
        super().__init__(f"Product {product_id}: {wanted} wanted, {available} available. Order less, or later.")
        self.product_id, self.wanted, self.available = product_id, wanted, available


class ProductRegistered(DomainEvent):
    """A product may be stocked and sold from now on."""

    description: str


class StockReceived(DomainEvent):
    """Goods came in."""

    quantity: int


class _SetAside(DomainEvent):
    order_id: UUID
    quantity: int


class StockReserved(_SetAside):
    """Goods were set aside for an order."""


class StockReleased(_SetAside):
    """Goods set aside are free again; `value` is what the order would have paid for them."""

    value: Decimal


class StockShipped(_SetAside):
    """Goods set aside left the house."""


class Stock(Aggregate):
    """How many of one product are free and how many are set aside. Its id is the product's."""

    available: int = 0
    reserved: int = 0

    @classmethod
    def register(cls, product_id: UUID, description: str) -> Self:
        """Take a new product in, with nothing on the shelf."""
        stock = cls(product_id)
        stock.record(ProductRegistered(description=description))
        return stock

    def receive(self, quantity: int) -> None:
        """Put goods on the shelf."""
        self.record(StockReceived(quantity=quantity))

    def reserve(self, order_id: UUID, quantity: int) -> None:
        """Set goods aside for an order, all or none."""
        if quantity > self.available:
            raise InsufficientInventoryError(self.id, quantity, self.available)
        self.record(StockReserved(order_id=order_id, quantity=quantity))

    def release(self, order_id: UUID, quantity: int, value: Decimal) -> None:
        """Put goods that were set aside back on the shelf."""
        self.record(StockReleased(order_id=order_id, quantity=quantity, value=value))

    def ship(self, order_id: UUID, quantity: int) -> None:
        """Hand goods that were set aside to the carrier."""
        self.record(StockShipped(order_id=order_id, quantity=quantity))

    @on
    def _received(self, event: StockReceived) -> None:
        self.available += event.quantity

    @on
    def _reserved(self, event: StockReserved) -> None:
        self.available -= event.quantity
        self.reserved += event.quantity

    @on
    def _released(self, event: StockReleased) -> None:
        self.available += event.quantity
        self.reserved -= event.quantity

    @on
    def _shipped(self, event: StockShipped) -> None:
        self.reserved -= event.quantity
