"""A small service for the tests of telemetry, in which every outcome of a command, a query and a batch can be had."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from diptych import (
    Aggregate,
    App,
    Command,
    CommandBus,
    DomainError,
    DomainEvent,
    Key,
    Metadata,
    Projection,
    Query,
    ReadModel,
    ReadModels,
    Repository,
    on,
)
from diptych.errors import UnknownOutcomeError

SECRET = "a-payload-that-nobody-may-see"


class Raised(DomainEvent):
    by: int
    note: str = ""


class Passed(DomainEvent):
    """Concerns no projection."""


class TooLowError(DomainError):
    pass


class Tally(Aggregate):
    total: int = 0

    @on
    def _raised(self, event: Raised) -> None:
        self.total += event.by

    @on
    def _passed(self, event: Passed) -> None:
        pass


class Raise(Command[int]):
    tally_id: UUID
    by: int = 1
    note: str = ""


class PassOver(Command):
    tally_id: UUID


class RaiseTwice(Command):
    tally_id: UUID


class TallyRow(ReadModel):
    id: Annotated[UUID, Key]
    total: int


class Tallies(Projection[TallyRow]):
    @on
    def raised(self, row: TallyRow | None, event: Raised, meta: Metadata) -> TallyRow:
        if event.note == "poison":
            raise RuntimeError(SECRET)
        return TallyRow(id=meta.stream.id, total=(row.total if row else 0) + event.by)


class GetTally(Query[TallyRow]):
    tally_id: UUID


class Fail(Query[None]):
    pass


class Meanwhile:
    """What happens once, while the next handler is at work."""

    def __init__(self) -> None:
        self.happens: Callable[[], Awaitable[object]] | None = None

    async def pass_by(self) -> None:
        happens, self.happens = self.happens, None
        if happens is not None:
            await happens()


def make_app(url: str = "memory:", meanwhile: Meanwhile | None = None) -> App:
    app = App(url)
    app.provide(Meanwhile, meanwhile or Meanwhile())
    app.project(Tallies)

    @app.command_handler
    async def raise_tally(command: Raise, tallies: Repository[Tally], meanwhile: Meanwhile) -> int:
        tally = await tallies.get_or_new(command.tally_id)
        await meanwhile.pass_by()
        if command.note == "bug":
            raise RuntimeError(SECRET)
        if command.note == "unknown":
            raise UnknownOutcomeError("no answer")
        if tally.total + command.by < 0:
            raise TooLowError(SECRET)
        tally.record(Raised(by=command.by, note=command.note))
        return tally.total

    @app.command_handler
    async def pass_over(command: PassOver, tallies: Repository[Tally]) -> None:
        (await tallies.get_or_new(command.tally_id)).record(Passed())

    @app.command_handler
    async def raise_twice(command: RaiseTwice, commands: CommandBus) -> None:
        await commands.dispatch(Raise(tally_id=command.tally_id))
        await commands.dispatch(Raise(tally_id=command.tally_id))

    @app.reaction
    async def tell(event: Raised) -> None:
        pass

    @app.query_handler
    async def get_tally(query: GetTally, read: ReadModels) -> TallyRow:
        return await read.one(TallyRow, query.tally_id)

    @app.query_handler
    async def fail(query: Fail, read: ReadModels) -> None:
        raise RuntimeError(SECRET)

    return app
