"""A call of a step that hangs is stopped after its timeout, on every store, and has failed like any other."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from diptych import App, IdempotencyKey, Steps, new_id, on, step
from diptych.sagas.row import saga_table
from diptych.sagas.steps import TIMEOUT, StepRules, steps_of
from tests.sagas.faults import rows
from tests.sagas.shop import OrderPlaced, PlaceOrder, shop
from tests.urls import url_for

pytestmark = pytest.mark.anyio


class Bank:
    """Hangs as often as it is told."""

    def __init__(self) -> None:
        self.charges_hang = self.refunds_hang = 0
        self.charged: list[str] = []
        self.refunded: list[str] = []
        self.stopped = 0

    async def charge(self, key: str) -> None:
        """Take the money, or do not come back."""
        self.charged.append(key)
        if len(self.charged) <= self.charges_hang:
            await self._hang()

    async def refund(self, key: str) -> None:
        """Give it back, or do not come back."""
        self.refunded.append(key)
        if len(self.refunded) <= self.refunds_hang:
            await self._hang()

    async def _hang(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped += 1


class Charging(Steps):
    """Charge, by a bank that may hang."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...

    @step(timeout=timedelta(milliseconds=50), attempts=2)
    async def charge(self, bank: Bank, key: IdempotencyKey) -> None:
        """Take the money."""
        await bank.charge(key)

    @charge.undo
    async def refund(self, bank: Bank, key: IdempotencyKey) -> None:
        """Give it back."""
        await bank.refund(key)


@pytest.fixture
def bank() -> Bank:
    """The bank."""
    return Bank()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def app(request: pytest.FixtureRequest, tmp_path: Path, bank: Bank) -> AsyncIterator[App]:
    """The shop, with a saga that calls the bank."""
    app = App(url_for(request, tmp_path))
    app.include(shop())
    app.saga(Charging)
    app.provide(Bank, bank)
    async with app:
        yield app


async def status_after_an_order(app: App) -> str:
    """How the saga of an order ends."""
    await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
    await app.settled(15)
    (row,) = await rows(app, saga_table("Charging"))
    return str(row.status)


async def test_a_call_that_hangs_is_stopped_and_tried_again_under_its_key(app: App, bank: Bank) -> None:
    """S1: it held up its saga for ever, unless it had a deadline."""
    bank.charges_hang = 1
    assert await status_after_an_order(app) == "completed"
    assert (bank.stopped, len(bank.charged), len(set(bank.charged))) == (1, 2, 1)


async def test_one_that_always_hangs_has_failed_and_is_undone(app: App, bank: Bank) -> None:
    """S3: it may have happened. An undo that hangs is stopped, too."""
    bank.charges_hang, bank.refunds_hang = 2, 1
    assert await status_after_an_order(app) == "compensated"
    assert (bank.stopped, len(bank.charged), len(bank.refunded)) == (3, 2, 2)


async def test_what_was_stopped_says_so(app: App, bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank.charges_hang, bank.refunds_hang = 2, 1
    monkeypatch.setattr(steps_of(Charging)["charge"], "undo_rules", StepRules(attempts=1))
    assert await status_after_an_order(app) == "stuck"
    (duty,) = (await app.status()).duties
    assert (duty.error or "").endswith("TimeoutError: it ran for more than 0.05 s, and was stopped")


def test_a_call_has_five_minutes_unless_it_says_otherwise() -> None:
    class Unlimited(Charging):
        @step
        async def plain(self) -> None: ...

        @step(timeout=None)
        async def long(self) -> None: ...

    found = steps_of(Unlimited)
    assert (found["plain"].seconds, found["long"].seconds) == (TIMEOUT.total_seconds(), None)
