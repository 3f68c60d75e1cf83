"""What can be asked of orders, in code and over HTTP.

Goods are reserved, released and shipped in the same commit as the order's own events: one `Stock` for each product.
"""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, BaseModel, Field

from diptych import Command, Module, Repository, new_id
from diptych.web import from_path, locate
from examples.orders.caller import Commands
from examples.orders.customers.domain import Customer
from examples.orders.inventory.domain import Stock
from examples.orders.orders.domain import Order, OrderItem
from examples.orders.orders.events import OrderStatus
from examples.orders.values import Address, RequiredText, business_time

MOST_ITEMS: Final = 499  # two events for each, and a commit holds at most 1,000; more follow with AddOrderItem

module, router = Module("orders"), APIRouter(prefix="/orders", tags=["orders"])


class CreateOrder(Command[UUID]):
    """Place an order. Returns its id, which the caller may choose.

    `placed_at` is for orders taken elsewhere and entered later.
    """

    order_id: UUID = Field(default_factory=new_id)
    customer_id: UUID
    items: Annotated[list[OrderItem], Field(min_length=1, max_length=MOST_ITEMS)]
    shipping_address: Address
    placed_at: AwareDatetime | None = None


class AddOrderItem(Command[int]):
    """Add an item to an order. Returns the number of its line."""

    order_id: UUID
    item: OrderItem


class RemoveOrderItem(Command):
    """Take a line off an order."""

    order_id: UUID
    line: int


class ChangeShippingAddress(Command):
    """Send an order elsewhere."""

    order_id: UUID
    shipping_address: Address


class UpdateOrderStatus(Command):
    """Confirm an order, ship it, or note that it was delivered."""

    order_id: UUID
    status: OrderStatus


class CancelOrder(Command):
    """Call an order off. A shipped one cannot be."""

    order_id: UUID
    reason: RequiredText


class OrderCreatedAnswer(BaseModel):
    """Which order it became."""

    order_id: UUID


@module.command_handler
async def create(
    command: CreateOrder, orders: Repository[Order], customers: Repository[Customer], stock: Repository[Stock]
) -> UUID:
    at = business_time(command.placed_at, command.timestamp)
    order = Order.create(command.order_id, command.customer_id, command.items, command.shipping_address, at)
    for product_id, share in order.by_product():
        (await stock.get(product_id)).reserve(order.id, share.quantity)
    await customers.get(command.customer_id)
    orders.add(order)
    return order.id


@module.command_handler
async def add(command: AddOrderItem, orders: Repository[Order], stock: Repository[Stock]) -> int:
    order = await orders.get(command.order_id)
    (await stock.get(command.item.product_id)).reserve(order.id, command.item.quantity)
    return order.add_item(command.item)


@module.command_handler
async def remove(command: RemoveOrderItem, orders: Repository[Order], stock: Repository[Stock]) -> None:
    order = await orders.get(command.order_id)
    item = order.remove_item(command.line)
    (await stock.get(item.product_id)).release(order.id, item.quantity, item.quantity * item.unit_price)


@module.command_handler
async def redirect(command: ChangeShippingAddress, orders: Repository[Order]) -> None:
    (await orders.get(command.order_id)).change_address(command.shipping_address)


@module.command_handler
async def move(command: UpdateOrderStatus, orders: Repository[Order], stock: Repository[Stock]) -> None:
    order = await orders.get(command.order_id)
    order.move_to(command.status)
    for product_id, share in order.by_product() if command.status is OrderStatus.SHIPPED else ():
        (await stock.get(product_id)).ship(order.id, share.quantity)


@module.command_handler
async def cancel(command: CancelOrder, orders: Repository[Order], stock: Repository[Stock]) -> None:
    order = await orders.get(command.order_id)
    order.cancel(command.reason)
    for product_id, share in order.by_product():
        (await stock.get(product_id)).release(order.id, share.quantity, share.value)


@router.post("", status_code=201)
async def create_order(command: CreateOrder, commands: Commands, request: Request) -> OrderCreatedAnswer:
    """Place an order; its goods are set aside at once, or it is refused."""
    receipt = await commands.dispatch(command)
    locate(request, "get_order_by_id", order_id=receipt.result)
    return OrderCreatedAnswer(order_id=receipt.result)


@router.post("/{order_id}/items", status_code=201)
async def add_item(
    command: Annotated[AddOrderItem, from_path(AddOrderItem, "order_id")], commands: Commands
) -> dict[str, int]:
    """Add an item to an order that has not left yet."""
    receipt = await commands.dispatch(command)
    return {"line": receipt.result}


@router.delete("/{order_id}/items/{line}", status_code=204)
async def remove_item(
    command: Annotated[RemoveOrderItem, from_path(RemoveOrderItem, "order_id", "line")], commands: Commands
) -> None:
    """Take a line off an order that has not left yet."""
    await commands.dispatch(command)


@router.put("/{order_id}/shipping-address", status_code=204)
async def change_address(
    command: Annotated[ChangeShippingAddress, from_path(ChangeShippingAddress, "order_id")], commands: Commands
) -> None:
    """Send an order elsewhere."""
    await commands.dispatch(command)


@router.put("/{order_id}/status", status_code=204)
async def update_status(
    command: Annotated[UpdateOrderStatus, from_path(UpdateOrderStatus, "order_id")], commands: Commands
) -> None:
    """Confirm an order, ship it, or note that it was delivered."""
    await commands.dispatch(command)


@router.post("/{order_id}/cancel", status_code=204)
async def cancel_order(command: Annotated[CancelOrder, from_path(CancelOrder, "order_id")], commands: Commands) -> None:
    """Call an order off; its goods are free again. A shipped order cannot be cancelled."""
    await commands.dispatch(command)
