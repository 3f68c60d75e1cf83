"""What is sent again, and how often it takes effect: conflicts, nested commands, middleware, the same object."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import pytest

from diptych import Aggregate, App, Command, CommandBus, DomainError, DomainEvent, Receipt, Repository, new_id, on
from diptych.errors import ProgrammingError, UnknownOutcomeError, WrongExpectedVersionError
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY, StreamName

pytestmark = pytest.mark.anyio


class Paid(DomainEvent):
    amount: int


class Purse(Aggregate):
    total: int = 0

    @on
    def _paid(self, event: Paid) -> None:
        self.total += event.amount


class Pay(Command[int]):
    purse_id: UUID
    amount: int = 1


class PayOnce(Command[int]):
    purse_id: UUID


class PayThen(Command):
    purse_id: UUID
    watched_id: UUID


class PaidAlreadyError(DomainError):
    pass


def purses(meanwhile: Callable[[], Awaitable[Any]] | None = None, naps: Sequence[float] = ()) -> App:
    """An app whose first runs of `PayOnce` take so many seconds each."""
    app, left = App(mode="development"), iter(naps)

    @app.command_handler
    async def pay(command: Pay, purses: Repository[Purse]) -> int:
        purse = await purses.get_or_new(command.purse_id)
        purse.record(Paid(amount=command.amount))
        return purse.total

    @app.command_handler
    async def pay_once(command: PayOnce, purses: Repository[Purse]) -> int:
        await asyncio.sleep(next(left, 0))
        purse = await purses.get_or_new(command.purse_id)
        if purse.total:
            raise PaidAlreadyError("paid already")
        purse.record(Paid(amount=1))
        return purse.total

    @app.command_handler
    async def pay_then(command: PayThen, commands: CommandBus, purses: Repository[Purse]) -> None:
        watched = await purses.get_or_new(command.watched_id)
        await commands.dispatch(Pay(purse_id=command.purse_id))
        if meanwhile is not None:
            await meanwhile()
        watched.record(Paid(amount=5))

    return app


async def test_a_handler_that_dispatched_a_command_is_not_run_again_c1() -> None:
    """The nested command has committed: running the handler again would do it twice."""
    purse, watched = new_id(), new_id()

    async def somebody_else() -> None:
        write = StreamWrite(StreamName("", "Purse", watched), ANY, [app.codec.encode(Paid(amount=100))])
        await app.events.append(Append([write]))

    app = purses(somebody_else)
    async with app:
        with pytest.raises(WrongExpectedVersionError):
            await app.commands.dispatch(PayThen(purse_id=purse, watched_id=watched))
        assert (await app.commands.dispatch(Pay(purse_id=purse))).result == 2


async def test_one_object_dispatched_twice_at_once_takes_effect_once_and_is_never_refused_c1() -> None:
    """Also when the second of them commits first."""
    async with purses(naps=(0.02, 0, 0, 0.02)) as app:
        for _ in range(3):
            command = PayOnce(purse_id=new_id())
            both = await asyncio.gather(app.commands.dispatch(command), app.commands.dispatch(command))
            assert [receipt.result for receipt in both] == [1, 1]


async def test_a_middleware_that_tries_again_after_an_unknown_outcome_gets_the_first_answer_c1() -> None:
    app = purses()

    def once_more(following: Any) -> Any:
        async def dispatch(command: Command[Any]) -> Receipt[Any]:
            try:
                result: Receipt[Any] = await following(command)
            except UnknownOutcomeError:
                result = await following(command)
            return result

        return dispatch

    app.middleware(once_more)
    async with app:
        store: Any = app.events
        append = store.append

        async def lost(what: Append) -> Any:
            store.append = append
            await append(what)
            raise UnknownOutcomeError("the cable was cut")

        store.append = lost
        receipt = await app.commands.dispatch(PayOnce(purse_id=new_id()))
        assert receipt.is_replay
        assert receipt.result == 1


async def test_a_command_inside_itself_is_refused_not_hung_c1() -> None:
    app = App()

    @app.command_handler
    async def pay(command: Pay, commands: CommandBus) -> int:
        return (await commands.dispatch(command)).result

    async with app:
        with pytest.raises(ProgrammingError, match="waits for itself"):
            await asyncio.wait_for(app.commands.dispatch(Pay(purse_id=new_id()), command_id=new_id()), 5)
