"""A whole service on one page: `diptych dev examples/hello.py`, then open /docs, say hello twice and ask for guests."""

from typing import Annotated

from fastapi import FastAPI

from diptych import Aggregate, App, Command, DomainEvent, Key, Projection, Query, ReadModel, ReadModels, Repository
from diptych import id_for, on
from diptych.web import Commands, Queries, install

app, api = App("sqlite:///hello.db"), FastAPI(title="Hello")
install(app, api)


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
    (await visitors.get_or_new(id_for("visitor", command.name))).greet(command.name)


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
async def hello(command: SayHello, commands: Commands) -> None:
    await commands.dispatch(command)


@api.get("/guests")
async def guest_book(queries: Queries) -> list[Guest]:
    return await queries.dispatch(GetGuests())
