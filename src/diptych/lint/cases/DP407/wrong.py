from diptych import Aggregate, App, Command, DomainEvent, Repository, id_for

app = App("sqlite:///shop.db")


class CustomerRegistered(DomainEvent):
    name: str


class Customer(Aggregate):
    def register(self, name: str) -> None:
        self.record(CustomerRegistered(name=name))


class RegisterCustomer(Command):
    email: str
    name: str


@app.command_handler
async def register_customer(command: RegisterCustomer, customers: Repository[Customer]) -> None:
    customer = await customers.get_or_new(id_for("customer", command.email))
    customer.register(command.name)
