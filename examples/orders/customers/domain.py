"""A customer: registered once, renamed at will."""

from typing import Self
from uuid import UUID

from diptych import Aggregate, DomainEvent, on
from examples.orders.values import Address


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
    def _registered(self, event: CustomerRegistered) -> None:
        self.name = event.name

    @on
    def _renamed(self, event: CustomerRenamed) -> None:
        self.name = event.name
