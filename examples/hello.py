"""A whole service on one page: `diptych dev examples/hello.py`, then open /docs, say hello twice and ask for guests."""

from typing import Annotated

from fastapi import Depends, FastAPI

from diptych import Aggregate, App, Command, CommandBus, DomainEvent, Key, Projection, Query, ReadModel, ReadModels

# isort: split
from diptych import Repository, id_for, on
from diptych.web import Queries, commands_as, install

install(app := App("sqlite:///hello.db"), api := FastAPI(title="Hello"))


class Greeted(DomainEvent):
    """What happened."""

    name: str


class Visitor(Aggregate):
    """Decides, and records what happened."""

    def greet(self, name: str) -> None:
        """Say hello."""
        self.record(Greeted(name=name))


class SayHello(Command):
    """What is asked for."""

    name: str


@app.command_handler
async def say_hello(command: SayHello, visitors: Repository[Visitor]) -> None:
    visitor = await visitors.get_or_new(id_for("visitor", command.name))
    visitor.greet(command.name)


class Guest(ReadModel):
    """A row to read."""

    name: Annotated[str, Key]
    greetings: int


@app.project
class GuestBook(Projection[Guest]):
    """Makes rows of what happened."""

    @on(key="name")
    def greeted(self, row: Guest | None, event: Greeted) -> Guest:
        return Guest(name=event.name, greetings=row.greetings + 1 if row else 1)


class GetGuests(Query[list[Guest]]):
    """What is asked of the rows."""


@app.query_handler
async def guests(query: GetGuests, read: ReadModels) -> list[Guest]:
    return await read.find(Guest)


@api.post("/hello", status_code=204)
async def hello(command: SayHello, commands: Annotated[CommandBus, Depends(commands_as(lambda: None))]) -> None:
    await commands.dispatch(command)


@api.get("/guests")
async def guest_book(queries: Queries) -> list[Guest]:
    return await queries.dispatch(GetGuests())
