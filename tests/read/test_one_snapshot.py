"""R2 through the bus: a query that was expected to read one row, and reads two while they change together."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest

from diptych import (
    Aggregate,
    App,
    Command,
    DomainEvent,
    Key,
    Projection,
    Query,
    ReadModel,
    ReadModels,
    Repository,
    on,
)
from diptych.read.bus import Ask
from tests.urls import url_for

pytestmark = pytest.mark.anyio

ACCOUNT = UUID("01890000-0000-7000-8000-00000000000a")


class Moved(DomainEvent, name="one-snapshot.moved"):
    to: int


class Account(Aggregate, name="one-snapshot"):
    pass


class Move(Command[None]):
    to: int


class SideRow(ReadModel):
    name: Annotated[str, Key]
    at: int


class Sides(Projection[SideRow]):
    """Two rows that every event changes alike."""

    @on
    def moved(self, event: Moved) -> list[SideRow]:
        return [SideRow(name=name, at=event.to) for name in ("left", "right")]


class Look(Query[list[int]]):
    pass


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


Reads = Callable[[ReadModels, Callable[[], Awaitable[None]]], Awaitable[list[int]]]


async def one_after_the_other(read: ReadModels, change: Callable[[], Awaitable[None]]) -> list[int]:
    left = await read.one(SideRow, "left")
    await change()
    return [left.at, (await read.one(SideRow, "right")).at]


async def in_a_group(read: ReadModels, change: Callable[[], Awaitable[None]]) -> list[int]:
    async def right() -> int:
        return (await read.one(SideRow, "right")).at

    left = (await read.one(SideRow, "left")).at
    await change()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(right())
    return [left, task.result()]


@pytest.mark.parametrize("reads", [one_after_the_other, in_a_group])
async def test_both_rows_are_of_one_moment(url: str, reads: Reads) -> None:
    app, moves, asked = App(url), iter(range(1, 10)), list[Query[Any]]()
    app.project(Sides)

    @app.command_handler
    async def move(command: Move, accounts: Repository[Account]) -> None:
        (await accounts.get_or_new(ACCOUNT)).record(Moved(to=command.to))

    @app.query_handler
    async def look(query: Look, read: ReadModels) -> list[int]:
        async def change() -> None:
            await app.commands.dispatch(Move(to=next(moves)))
            await app.caught_up(timeout=10)

        return await reads(read, change)

    def counted(ask: Ask) -> Ask:
        async def call(query: Query[Any]) -> Any:
            asked.append(query)
            return await ask(query)

        return call

    app.middleware(query=counted)
    async with app:
        await app.commands.dispatch(Move(to=0))
        await app.caught_up(timeout=10)
        for number in range(1, 4):
            answer = await app.queries.answer(Look())
            left, right = answer.value
            assert left == right
            assert answer.as_of_position == left + 1
            assert len(asked) == number
