"""A saga that says something that cannot be: it alone is stuck, and the sentence says what to write."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import anyio
import pytest

from diptych import App, Saga, Steps, new_id, on, step
from tests.sagas.shop import Order, OrderPaid, OrderPlaced, PaymentDue, PayOrder, PlaceOrder, ShipOrder, shop_app

pytestmark = pytest.mark.anyio

DO: list[Callable[["Misused"], Any]] = []


class Misused(Saga):
    """Says what the test has it say."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> Any:
        return DO[0](self)

    @on
    def paid(self, event: OrderPaid) -> None:
        self.dispatch(ShipOrder(order_id=self.id))

    @on
    def unpaid(self, timeout: PaymentDue) -> None: ...


async def stuck_with(app: App, act: Callable[[Misused], Any]) -> str:
    """What is wrong with a saga that does this; another saga goes on, whatever lane it is in."""
    DO[:] = [act]
    await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
    await app.settled()
    DO[:] = [lambda saga: None]
    for order in [new_id() for _ in range(8)]:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await app.commands.dispatch(PayOrder(order_id=order))
    await app.settled()
    (found,) = (await app.status()).duties
    assert (found.state, found.stuck, found.parked, found.waiting) == ("parked", 1, 1, 0)
    return str(found.problem)


CASES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda saga: saga.schedule(PaymentDue(), after=timedelta.max), "PaymentDue would be due beyond the year 9999"),
    (lambda saga: saga.schedule(PaymentDue(), after=timedelta.min), "PaymentDue would be due before the year 1"),
    (lambda saga: saga.schedule(PaymentDue(), after=30), "after=30 is no span of time. Write timedelta(seconds=30)"),
    (lambda saga: saga.schedule(PaymentDue, after=timedelta(1)), "is no Timeout. Write schedule(YourTimeout(), ...)"),
    (lambda saga: saga.cancel(PaymentDue()), "is no class of a Timeout. Write cancel(PaymentDue)"),
    (lambda saga: saga.dispatch(Order), "is no command"),
    (lambda saga: saga.dispatch(ShipOrder), "is no command"),
    (lambda saga: ShipOrder(order_id=saga.id), "placed returned a ShipOrder, which nobody takes"),
]


@pytest.mark.parametrize(("act", "told"), CASES)
async def test_what_cannot_be_makes_one_saga_stuck(act: Callable[[Misused], Any], told: str) -> None:
    """P7: a timer beyond what a row can hold stopped the sagas of a whole lane."""
    async with shop_app("memory:", saga=Misused) as app:
        assert told in await stuck_with(app, act)


async def test_a_call_that_nobody_awaits_is_found() -> None:
    """`return commands.dispatch(...)` in a plain method did nothing, and nobody said so."""

    async def call() -> None: ...

    async with shop_app("memory:", saga=Misused) as app:
        assert "placed returned a coroutine, which nobody takes" in await stuck_with(app, lambda saga: call())


async def test_a_timer_at_the_end_of_time_is_one() -> None:
    async with shop_app("memory:", saga=Misused) as app:
        DO[:] = [lambda saga: saga.schedule(PaymentDue(), at=datetime.max.replace(tzinfo=UTC))]
        await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        await app.settled()
        assert [one.timers for one in (await app.status()).duties] == [1]


CALLS: list[Callable[["Calling"], Any]] = []


class Calling(Steps):
    """Has a step that does what the test has it do."""

    seen: int = 0

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...

    @step
    async def call(self) -> Any:
        return CALLS[0](self)

    @call.undo
    async def undone(self) -> None:
        raise AssertionError("what cannot be is not undone, but mended")


def changed(saga: Calling) -> None:
    saga.seen = 5


def added(saga: Calling) -> None:
    saga.__dict__["more"] = 1


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (changed, "step call changed what it remembers. Return it instead: it is in self.results"),
        (added, "more is no attribute that it declares"),
        (lambda saga: Decimal("1.5"), "step call returned Decimal('1.5'), which JSON cannot hold"),
        (lambda saga: saga.dispatch(ShipOrder(order_id=saga.id)), "was used after its step"),
    ],
)
async def test_a_call_that_does_what_it_cannot_is_stuck_until_it_is_mended(
    act: Callable[[Calling], Any], told: str
) -> None:
    """What it changed was forgotten in silence; others were tried five times, and undone."""
    CALLS[:] = [act]
    async with shop_app("memory:", saga=Calling) as app:
        await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        await app.settled()
        (found,) = (await app.status()).duties
        assert (found.state, found.stuck) == ("parked", 1)
        assert told in str(found.problem)
        CALLS[:] = [lambda saga: {"paid": 1}]
        await app.events.inline.leases.ask("Calling", "retry")
        with anyio.fail_after(10):
            while (await app.status()).duties[0].stuck:
                await app.settled()


async def test_what_is_read_back_as_another_is_named() -> None:
    async with shop_app("memory:", saga=Remembering) as app:
        await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        await app.settled()
        assert "what it remembers cannot be written down: seen is read back as another" in str(
            (await app.status()).duties[0].problem
        )


class Remembering(Saga):
    """Remembers a set where JSON makes a list of it."""

    seen: Any = None

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        self.seen = {1}


class Ending(Steps):
    """Is said to be complete while a step is done."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...

    @on
    def paid(self, event: OrderPaid) -> None:
        self.complete()

    @step
    async def call(self) -> None:
        await asyncio.Event().wait()


async def test_steps_are_complete_when_they_are_done() -> None:
    """S4: what was being done was forgotten, and neither done to its end nor undone."""
    order = new_id()
    async with shop_app("memory:", saga=Ending) as app:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await app.commands.dispatch(PayOrder(order_id=order))
        with anyio.fail_after(10):
            while not (problems := (await app.status()).problems):  # noqa: ASYNC110 - it is looked at, not told
                await asyncio.sleep(0.01)
    assert "a saga of steps is complete when they are done. Call fail(why)" in problems[0]
