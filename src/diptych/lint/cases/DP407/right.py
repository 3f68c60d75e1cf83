from uuid import UUID

from pydantic import Field

from diptych import Aggregate, App, Command, DomainEvent, Repository, new_id

app = App("sqlite:///shop.db")


class CustomerRegistered(DomainEvent):
    name: str


class Customer(Aggregate):
    def register(self, name: str) -> None:
        self.record(CustomerRegistered(name=name))


class RegisterCustomer(Command):
    customer_id: UUID = Field(default_factory=new_id)
    email: str
    name: str


@app.command_handler
async def register_customer(command: RegisterCustomer, customers: Repository[Customer]) -> None:
    customer = await customers.get_or_new(command.customer_id)
    customer.register(command.name)
