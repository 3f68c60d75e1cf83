"""What holds up an inbox is told: which message, why, and for how long; and is told no more when it is done."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import anyio
import pytest

from diptych import App, Clock, Command, FixedClock, new_id
from diptych.app.duty_status import DutyStatus
from diptych.errors import WrongExpectedVersionError
from diptych.reactions.inbox import Inbox
from diptych.reactions.source import MemorySource
from diptych.stream import StreamName
from tests.reactions.test_inbox import KIND, PaymentReceived, aside, paid
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Note(Command):
    """What a payment leads to."""

    order_id: UUID


class Desk:
    """Handles payments as a test says."""

    def __init__(self, url: str) -> None:
        self.clock, self.source, self.errors = FixedClock(), MemorySource(), list[Exception]()
        self.may_go_on, self.is_at_it = asyncio.Event(), asyncio.Event()
        self.app = App(url)
        self.app.provide(Clock, self.clock)
        bank = Inbox("bank", self.source)

        @bank.message
        def received(event: PaymentReceived) -> Note:
            return Note(order_id=event.order_id)

        @self.app.command_handler
        async def note(command: Note) -> None:
            self.is_at_it.set()
            if self.errors:
                raise self.errors[0]
            await self.may_go_on.wait()

        self.app.consume(bank)

    async def status(self, is_so: Callable[[DutyStatus], bool]) -> DutyStatus:
        """What `status` says, once something is so."""
        with anyio.fail_after(10):
            while True:
                (found,) = (await self.app.status()).duties
                if is_so(found):
                    return found
                await anyio.sleep(0.01)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    """One on each store."""
    return Desk(url_for(request, tmp_path))


async def test_a_command_that_hangs_is_told_with_its_message_and_since_when(desk: Desk) -> None:
    order = new_id()
    async with desk.app:
        desk.source.put(paid(order))
        await desk.is_at_it.wait()
        assert (await desk.status(lambda one: one.workers > 0)).state == "caught up"
        desk.clock.advance(timedelta(seconds=8))
        told = await desk.status(lambda one: one.waiting > 0)
        assert (told.state, told.undone_seconds) == ("behind", 8.0)
        assert told.error == f"{KIND} of {order} is not done yet"
        desk.may_go_on.set()
        assert (await desk.status(lambda one: not one.waiting)).state == "caught up"
        await until(lambda: desk.source.acknowledged == 1)


async def test_a_command_that_fails_in_passing_is_told_with_why(desk: Desk) -> None:
    order = new_id()
    desk.errors = [WrongExpectedVersionError(StreamName("", "Order", order), 1, 2)]
    async with desk.app:
        desk.source.put(paid(order))
        await desk.is_at_it.wait()
        desk.clock.advance(timedelta(seconds=8))
        told = await desk.status(lambda one: one.error is not None and "tried again" in one.error)
        assert "expected version 1, found 2" in str(told.error)
        assert (told.state, told.undone_seconds) == ("behind", 8.0)
        desk.errors.clear()
        desk.may_go_on.set()
        assert (await desk.status(lambda one: not one.waiting)).state == "caught up"


async def test_who_takes_an_inbox_up_tells_anew(tmp_path: Path) -> None:
    """What the one before told is not true for ever: its message may come to another, or never again."""
    url = f"sqlite:///{tmp_path}/shop.db"
    first = Desk(url)
    async with first.app:
        first.source.put(paid(new_id()))
        await first.is_at_it.wait()
        first.clock.advance(timedelta(seconds=8))
        await first.status(lambda one: one.waiting > 0)
    second = Desk(url)
    async with second.app:
        assert (await second.status(lambda one: one.workers > 0 and not one.waiting)).state == "caught up"
        assert await aside(second.app) == []
