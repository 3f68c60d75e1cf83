"""Timers that are due at once, or at one time twice: each acts, and what it asks for is done (S1, S2)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest

from diptych import Command, FixedClock, Saga, Timeout, new_id, on
from diptych.sagas.row import saga_table
from diptych.subscriptions.tasks import tasks_table
from tests.sagas.faults import rows
from tests.sagas.shop import OrderPaid, OrderPlaced, PayOrder, PlaceOrder, shop_app
from tests.urls import url_for

pytestmark = pytest.mark.anyio

EVENING: Final = datetime(2026, 1, 1, 18, tzinfo=UTC)


class First(Timeout):
    """Due before the other."""


class Second(Timeout):
    """Due a moment later, and put off by the first."""

    by: str = "placed"


class PutOff(Saga):
    """Puts the second of two timers off when the first acts; or sets it for the same time anew."""

    acted: list[str] = []

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Set both."""
        self.schedule(First(), after=timedelta(minutes=1))
        self.schedule(Second(), after=timedelta(minutes=2))

    @on
    def first(self, timeout: First) -> None:
        """Put the other off."""
        self.acted = [*self.acted, "first"]
        self.schedule(Second(by="first"), after=timedelta(hours=1))

    @on
    def second(self, timeout: Second) -> None:
        """Act."""
        self.acted = [*self.acted, timeout.by]


class SetAnew(PutOff):
    """Sets the second for its time, with other fields."""

    @on
    def first(self, timeout: First) -> None:
        """Say it otherwise."""
        self.schedule(Second(by="first"), after=timedelta(minutes=1))


class Remind(Command):
    """Remind somebody."""

    order_id: UUID
    number: int = 0


class Evening(Timeout):
    """The shop closes."""


class Reminders(Saga):
    """Sends a reminder in the evening of each event's day, at once where that is over."""

    @on(starts=True)
    def placed(self, event: OrderPlaced | OrderPaid) -> None:
        """Wait for the evening."""
        self.schedule(Evening(), at=EVENING)

    @on
    def evening(self, timeout: Evening) -> None:
        """Remind."""
        self.dispatch(Remind(order_id=self.id))


@pytest.fixture
def clock() -> FixedClock:
    """A clock that the tests move."""
    return FixedClock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind."""
    return url_for(request, tmp_path)


async def test_a_timer_that_another_one_puts_off_acts_later(url: str, clock: FixedClock) -> None:
    """S2: both were due, as when the worker was down; the one that was put off was lost."""
    async with shop_app(url, clock, PutOff) as app:
        await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        await app.settled()
        clock.advance(timedelta(minutes=5))
        await app.settled()
        (row,) = await rows(app, saga_table("PutOff"))
        assert row.state == '{"acted":["first"]}'
        assert row.due.keys() == {"Second"}
        clock.advance(timedelta(hours=1))
        await app.settled()
        (row,) = await rows(app, saga_table("PutOff"))
        assert row.state == '{"acted":["first","first"]}'
        assert await rows(app, tasks_table("PutOff"), "kind = 'timer'") == []


async def test_a_timer_that_another_one_sets_anew_acts_as_it_was_set_last(url: str, clock: FixedClock) -> None:
    """S2: it acted with the fields that it had before."""
    async with shop_app(url, clock, SetAnew) as app:
        await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        await app.settled()
        clock.advance(timedelta(minutes=5))
        await app.settled()
        (row,) = await rows(app, saga_table("SetAnew"))
        assert (row.state, row.due) == ('{"acted":["first"]}', {})


async def test_a_timer_that_is_set_twice_for_one_time_acts_twice(url: str, clock: FixedClock) -> None:
    """S1: its second command had the id of the first, and was taken for a repetition of it."""
    app, reminded = shop_app(url, clock, Reminders), list[UUID]()

    @app.command_handler
    async def remind(command: Remind) -> None:
        reminded.append(command.command_id)

    order = new_id()
    async with app:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await app.settled()
        clock.advance(timedelta(hours=19))
        await app.settled()
        assert len(reminded) == 1
        await app.commands.dispatch(PayOrder(order_id=order))
        await app.settled()
    assert len(reminded) == len(set(reminded)) == 2
