"""People who order: registered once, renamed at will."""

from typing import Self
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import Field

from diptych import Aggregate, Command, DomainEvent, Module, Repository, new_id, on
from diptych.web import locate
from examples.orders.caller import Commands, Route
from examples.orders.values import Address, RequiredText

module, router = Module("customers"), APIRouter(prefix="/customers", tags=["customers"], route_class=Route)


class CustomerRegistered(DomainEvent):
    """Somebody may order from now on."""

    name: str
    address: Address


class CustomerRenamed(DomainEvent):
    """The name changed, on orders of the past too."""

    name: str


class Customer(Aggregate):
    """Somebody who orders."""

    name: str

    @classmethod
    def register(cls, customer_id: UUID, name: str, address: Address) -> Self:
        """Take a new customer in."""
        customer = cls(customer_id)
        customer.record(CustomerRegistered(name=name, address=address))
        return customer

    def rename(self, name: str) -> None:
        """Change the name; the same name again changes nothing."""
        if name != self.name:
            self.record(CustomerRenamed(name=name))

    @on
    def _named(self, event: CustomerRegistered | CustomerRenamed) -> None:
        self.name = event.name


class RegisterCustomer(Command[UUID]):
    """Take a new customer in. Returns the id, which the caller may choose."""

    customer_id: UUID = Field(default_factory=new_id)
    name: RequiredText
    address: Address


@router.post("", status_code=201)
async def register_customer(command: RegisterCustomer, commands: Commands, request: Request) -> dict[str, UUID]:
    """Take a new customer in."""
    receipt = await commands.dispatch(command)
    locate(request, "get_customer_totals", customer_id=receipt.result)
    return {"customer_id": receipt.result}


@router.post("/{customer_id}/rename")
class RenameCustomer(Command):
    """Change a customer's name, also on the orders there are."""

    customer_id: UUID
    name: RequiredText


@module.command_handler
async def register(command: RegisterCustomer, customers: Repository[Customer]) -> UUID:
    customers.add(Customer.register(command.customer_id, command.name, command.address))
    return command.customer_id


@module.command_handler
async def rename(command: RenameCustomer, customers: Repository[Customer]) -> None:
    (await customers.get(command.customer_id)).rename(command.name)
