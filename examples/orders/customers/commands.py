"""What can be asked of customers, in code and over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field

from diptych import Command, Module, Repository, new_id
from diptych.web import from_path, locate
from examples.orders.caller import Commands
from examples.orders.customers.domain import Customer
from examples.orders.values import Address, RequiredText

module, router = Module("customers"), APIRouter(tags=["customers"])


class RegisterCustomer(Command[UUID]):
    """Take a new customer in. Returns the id."""

    customer_id: UUID = Field(default_factory=new_id)
    name: RequiredText
    address: Address


class RenameCustomer(Command):
    """Change a customer's name, everywhere it is shown."""

    customer_id: UUID
    name: RequiredText


@module.command_handler
async def register(command: RegisterCustomer, customers: Repository[Customer]) -> UUID:
    customers.add(Customer.register(command.customer_id, command.name, command.address))
    return command.customer_id


@module.command_handler
async def rename(command: RenameCustomer, customers: Repository[Customer]) -> None:
    (await customers.get(command.customer_id)).rename(command.name)


@router.post("/customers", status_code=201)
async def register_customer(command: RegisterCustomer, commands: Commands, request: Request) -> dict[str, UUID]:
    """Register a customer."""
    receipt = await commands.dispatch(command)
    locate(request, "get_customer", customer_id=receipt.result)
    return {"customer_id": receipt.result}


@router.post("/customers/{customer_id}/rename", status_code=204)
async def rename_customer(
    command: Annotated[RenameCustomer, from_path(RenameCustomer, "customer_id")], commands: Commands
) -> None:
    """Rename a customer, also on the orders there are."""
    await commands.dispatch(command)
