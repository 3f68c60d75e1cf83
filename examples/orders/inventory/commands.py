"""What can be asked of the inventory. Orders reserve, release and ship as part of their own commands."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field

from diptych import Command, Module, Repository, new_id
from diptych.web import from_path, locate
from examples.orders.caller import Commands
from examples.orders.inventory.domain import Stock
from examples.orders.values import Quantity, RequiredText

module, router = Module("inventory"), APIRouter(tags=["inventory"])


class RegisterProduct(Command[UUID]):
    """Take a new product in. Returns the id."""

    product_id: UUID = Field(default_factory=new_id)
    description: RequiredText


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


@router.post("/products", status_code=201)
async def register_product(command: RegisterProduct, commands: Commands, request: Request) -> dict[str, UUID]:
    """Register a product."""
    receipt = await commands.dispatch(command)
    locate(request, "get_product", product_id=receipt.result)
    return {"product_id": receipt.result}


@router.post("/products/{product_id}/stock", status_code=204)
async def receive_stock(
    command: Annotated[ReceiveStock, from_path(ReceiveStock, "product_id")], commands: Commands
) -> None:
    """Put goods on the shelf."""
    await commands.dispatch(command)
