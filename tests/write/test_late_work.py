"""What a handler leaves running, or keeps hold of, when it has returned: refused aloud, and nobody else suffers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from diptych import Aggregate, App, Command, DomainEvent, Repository, new_id, on
from diptych.errors import ProgrammingError

pytestmark = pytest.mark.anyio


class Noted(DomainEvent):
    text: str


class Notes(Aggregate):
    texts: list[str] = []

    @on
    def _noted(self, event: Noted) -> None:
        self.texts.append(event.text)


class Note(Command[list[str]]):
    notes_id: UUID
    text: str


class Kept:
    """What handlers kept for later."""

    def __init__(self) -> None:
        self.aggregates: list[Notes] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.late: Callable[[Repository[Notes]], Awaitable[Any]] | None = None


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def app(kept: Kept) -> App:
    app = App(mode="production")

    @app.command_handler
    async def note(command: Note, notes: Repository[Notes]) -> list[str]:
        found = await notes.get_or_new(command.notes_id)
        found.record(Noted(text=command.text))
        kept.aggregates.append(found)
        late, kept.late = kept.late, None
        if late is not None:
            kept.tasks.append(asyncio.ensure_future(late(notes)))
            await asyncio.sleep(0)
        return list(found.texts)

    return app


async def test_an_event_recorded_after_the_commit_is_refused_and_reaches_no_other_command(app: App, kept: Kept) -> None:
    """L7: the next command takes the same object from the cache."""
    notes = new_id()
    async with app:
        await app.commands.dispatch(Note(notes_id=notes, text="first"))
        with pytest.raises(ProgrammingError, match="would be lost"):
            kept.aggregates[0].record(Noted(text="smuggled"))
        receipt = await app.commands.dispatch(Note(notes_id=notes, text="second"))
        assert receipt.result == ["first", "second"]
        assert receipt.position == 2


async def test_a_task_left_behind_cannot_use_the_repository(app: App, kept: Kept) -> None:
    async def later(notes: Repository[Notes]) -> None:
        await asyncio.sleep(0.02)
        await notes.get_or_new(new_id())

    kept.late = later
    async with app:
        await app.commands.dispatch(Note(notes_id=new_id(), text="first"))
        with pytest.raises(ProgrammingError, match="after its command's handler had returned"):
            await kept.tasks[0]


async def test_a_task_left_behind_cannot_add_an_aggregate_that_nobody_would_store_l7(app: App, kept: Kept) -> None:
    gate = asyncio.Event()

    async def later(notes: Repository[Notes]) -> None:
        await gate.wait()
        notes.add(Notes(new_id()))

    kept.late = later
    async with app:
        await app.commands.dispatch(Note(notes_id=new_id(), text="first"))
        gate.set()
        with pytest.raises(ProgrammingError, match="after its command's handler had returned"):
            await kept.tasks[0]


async def test_a_task_that_still_waits_for_an_aggregate_does_not_keep_it_for_good() -> None:
    app, gate, tasks = App(), asyncio.Event(), list[asyncio.Task[Any]]()
    notes = new_id()

    class Hold(Command):
        pass

    class Forget(Command):
        pass

    @app.command_handler
    async def hold(command: Hold, repository: Repository[Notes]) -> None:
        await repository.get_or_none(notes)
        await gate.wait()

    @app.command_handler
    async def forget(command: Forget, repository: Repository[Notes]) -> None:
        tasks.append(asyncio.create_task(repository.get_or_none(notes)))
        await asyncio.sleep(0)

    async with app:
        holding = asyncio.create_task(app.commands.dispatch(Hold()))
        await asyncio.sleep(0)
        await app.commands.dispatch(Forget())
        gate.set()
        await holding
        with pytest.raises(ProgrammingError, match="had returned"):
            await tasks[0]
        await asyncio.wait_for(app.commands.dispatch(Hold()), 5)


async def test_a_command_sent_by_a_task_left_behind_is_one_of_its_own(app: App, kept: Kept) -> None:
    """The handler that started it waits for nothing any more, so nothing can wait in a circle."""
    notes = new_id()

    async def later(_: Repository[Notes]) -> None:
        await asyncio.sleep(0.02)
        await app.commands.dispatch(Note(notes_id=notes, text="second"))

    kept.late = later
    async with app:
        await app.commands.dispatch(Note(notes_id=notes, text="first"))
        await kept.tasks[0]
        assert (await app.commands.dispatch(Note(notes_id=notes, text="third"))).result == ["first", "second", "third"]
