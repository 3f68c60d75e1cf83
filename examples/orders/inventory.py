"""Products and how many of them are there. Orders reserve, release and ship as part of their own commands."""

from decimal import Decimal
from typing import Self
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field

from diptych import Aggregate, Command, DomainError, DomainEvent, Module, Repository, new_id, on
from diptych.web import locate
from examples.orders.caller import Commands, Route
from examples.orders.values import Quantity, RequiredText

module, router = Module("inventory"), APIRouter(prefix="/products", tags=["inventory"], route_class=Route)


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


class StockReserved(DomainEvent):
    """Goods were set aside for an order."""

    order_id: UUID
    quantity: int


class StockReleased(DomainEvent):
    """Goods set aside are free again; `value` is what the order would have paid for them."""

    order_id: UUID
    quantity: int
    value: Decimal


class StockShipped(DomainEvent, inert=True):
    """Goods set aside left the house."""

    order_id: UUID
    quantity: int


class Stock(Aggregate):
    """How many of one product are on the shelf and free. Its id is the product's."""

    available: int = 0

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
    def _more(self, event: StockReceived | StockReleased) -> None:
        self.available += event.quantity

    @on
    def _fewer(self, event: StockReserved) -> None:
        self.available -= event.quantity


class RegisterProduct(Command[UUID]):
    """Take a new product in. Returns the id, which the caller may choose."""

    product_id: UUID = Field(default_factory=new_id)
    description: RequiredText


@router.post("", status_code=201)
async def register_product(command: RegisterProduct, commands: Commands, request: Request) -> dict[str, UUID]:
    """Take a new product in."""
    receipt = await commands.dispatch(command)
    locate(request, "get_product_sales", product_id=receipt.result)
    return {"product_id": receipt.result}


@router.post("/{product_id}/stock")
class ReceiveStock(Command):
    """Put goods of a registered product on the shelf."""

    product_id: UUID
    quantity: Quantity


@module.command_handler
async def register(command: RegisterProduct, stock: Repository[Stock]) -> UUID:
    stock.add(Stock.register(command.product_id, command.description))
    return command.product_id


@module.command_handler
async def receive(command: ReceiveStock, stock: Repository[Stock]) -> None:
    (await stock.get(command.product_id)).receive(command.quantity)
