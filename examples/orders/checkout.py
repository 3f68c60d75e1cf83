"""Orders that are paid in advance: checked out by the customer, then carried on by `fulfilment.py`.

Each of these commands may come twice, or late: after an order was shipped or cancelled.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field

from diptych import Command, Module, Repository, new_id
from diptych.web import locate
from examples.orders.caller import Commands
from examples.orders.customers import Customer
from examples.orders.inventory import Stock
from examples.orders.orders import MOST_ITEMS, Order
from examples.orders.values import Address, OrderItem

module, router = Module("checkout"), APIRouter(prefix="/checkouts", tags=["payment"])


class CheckOut(Command[UUID]):
    """Order, and pay before anything is shipped. Returns the order's id, which the caller may choose."""

    order_id: UUID = Field(default_factory=new_id)
    customer_id: UUID
    items: Annotated[list[OrderItem], Field(min_length=1, max_length=MOST_ITEMS)]
    shipping_address: Address


@router.post("", status_code=202)
async def check_out(command: CheckOut, commands: Commands, request: Request) -> dict[str, UUID]:
    """Order, and pay in advance. Goods are set aside and money is taken afterwards; the order's status tells of it."""
    receipt = await commands.dispatch(command)
    locate(request, "get_order_by_id", order_id=receipt.result)
    return {"order_id": receipt.result}


class SetGoodsAside(Command):
    """Set the goods of an order aside that was checked out, all or none."""

    order_id: UUID


class ShipOrder(Command):
    """Hand an order to the carrier that was paid."""

    order_id: UUID


@module.command_handler
async def place(command: CheckOut, orders: Repository[Order], customers: Repository[Customer]) -> UUID:
    await customers.get(command.customer_id)
    now = command.timestamp
    order = Order.create(command.order_id, command.customer_id, command.items, command.shipping_address, now)
    order.check_out()
    orders.add(order)
    return order.id


@module.command_handler
async def set_aside(command: SetGoodsAside, orders: Repository[Order], stock: Repository[Stock]) -> None:
    order = await orders.get(command.order_id)
    for line in order.set_goods_aside():
        (await stock.get(line.product_id)).reserve(order.id, line.quantity)


@module.command_handler
async def ship(command: ShipOrder, orders: Repository[Order], stock: Repository[Stock]) -> None:
    order = await orders.get(command.order_id)
    for line in order.ship_paid():
        (await stock.get(line.product_id)).ship(order.id, line.quantity)
