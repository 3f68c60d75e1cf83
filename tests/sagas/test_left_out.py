"""What an operator leaves out, on every store: nothing of it stays, as if it had never been."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from diptych import App, Command, FixedClock, Rejected, Saga, new_id, on
from diptych.sagas.row import saga_table
from diptych.subscriptions.duty import LANES
from diptych.subscriptions.in_hand import InHand
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.tasks import tasks_table
from tests.sagas.faults import rows
from tests.sagas.shop import (
    AddStock,
    AlreadyShippedError,
    OrderPaid,
    OrderPlaced,
    PaymentDue,
    PayOrder,
    PlaceOrder,
    ReserveStock,
    shop_app,
)
from tests.urls import url_for

pytestmark = pytest.mark.anyio

BUGS: set[str] = set()


class Careless(Saga):
    """Each of its methods may have a bug."""

    seen: list[str] = []

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Begin."""
        self._note("placed")
        self.dispatch(ReserveStock(product_id=event.product_id, order_id=self.id, quantity=1))
        self.schedule(PaymentDue(), after=timedelta(minutes=30))

    @on
    def paid(self, event: OrderPaid) -> None:
        """Note it."""
        self._note("paid")

    @on
    def unpaid(self, timeout: PaymentDue) -> None:
        """Note it."""
        self._note("unpaid")

    @on
    def refused(self, rejection: Rejected[ReserveStock]) -> None:
        """Wait no longer."""
        self._note("refused")
        self.cancel(PaymentDue)

    def _note(self, what: str) -> None:
        if what in BUGS:
            raise ZeroDivisionError(what)
        self.seen = [*self.seen, what]


@pytest.fixture(autouse=True)
def bugs() -> Iterator[None]:
    """Begin without."""
    BUGS.clear()
    yield
    BUGS.clear()


@pytest.fixture
def clock() -> FixedClock:
    """A clock that the tests move."""
    return FixedClock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind."""
    return url_for(request, tmp_path)


async def skip(app: App, key: object) -> None:
    """Leave out what failed of a key."""
    lane = lane_of(str(key), LANES)
    await app.events.inline.leases.ask_lane("Careless", "skip", lane, key=str(key), reason="a test")
    async with asyncio.timeout(10):
        while (await app.events.inline.leases.board()).requests:  # noqa: ASYNC110 - it is looked at, not told
            await asyncio.sleep(0.01)
    await app.settled()


async def test_a_saga_whose_first_event_is_left_out_has_never_begun(url: str, clock: FixedClock) -> None:
    """S1: it was there and running, without a step, and took what comes after its beginning."""
    BUGS.add("placed")
    order = new_id()
    async with shop_app(url, clock, Careless) as app:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await app.commands.dispatch(PayOrder(order_id=order))
        await app.settled()
        assert [row.status for row in await rows(app, saga_table("Careless"))] == ["stuck"]
        BUGS.clear()
        await skip(app, order)
        assert await rows(app, saga_table("Careless")) == []
        assert [one.state for one in await rows(app, tasks_table("Careless"), "kind <> 'start'")] == ["skipped"]


async def test_a_timer_that_is_left_out_is_to_come_no_more(url: str, clock: FixedClock) -> None:
    """S2: the saga went on to say when it was due."""
    BUGS.add("unpaid")
    order, product = new_id(), new_id()
    async with shop_app(url, clock, Careless) as app:
        await app.commands.dispatch(AddStock(product_id=product, quantity=1))
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=1))
        await app.settled()
        clock.advance(timedelta(hours=1))
        await app.settled()
        await skip(app, order)
        (row,) = await rows(app, saga_table("Careless"))
        assert (row.status, row.due) == ("running", {})


class Ask(Command):
    """Ask somebody who takes his time, and says no."""

    order_id: UUID


class Hasty(Saga):
    """Has a bug in what it does when its time is over; but it may hear before that there is no need."""

    seen: list[str] = []

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Ask, and wait for a while."""
        self.dispatch(Ask(order_id=self.id))
        self.schedule(PaymentDue(), after=timedelta(minutes=30))

    @on
    def refused(self, rejection: Rejected[Ask]) -> None:
        """Wait no longer, or for longer."""
        self.seen = [*self.seen, "refused"]
        if "longer" in BUGS:
            self.schedule(PaymentDue(), after=timedelta(days=1))
        else:
            self.cancel(PaymentDue)

    @on
    def paid(self, event: OrderPaid) -> None:
        """Note it."""
        self.seen = [*self.seen, "paid"]

    @on
    def unpaid(self, timeout: PaymentDue) -> None:
        """Fail."""
        raise ZeroDivisionError("a bug")


@pytest.mark.parametrize("instead", ["cancelled", "longer"])
async def test_a_saga_that_cancels_the_timer_that_failed_is_stuck_no_more(
    url: str, clock: FixedClock, instead: str
) -> None:
    """S2: nothing was left to be tried again, it was stuck for ever, and all that came later was put aside."""
    BUGS.add(instead)
    app, gate, order = shop_app(url, clock, Hasty), asyncio.Event(), new_id()

    @app.command_handler
    async def ask(command: Ask) -> None:
        await gate.wait()
        raise AlreadyShippedError("no")

    async with app:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await until_there(app, "running")
        clock.advance(timedelta(hours=1))
        await until_there(app, "stuck")
        await app.commands.dispatch(PayOrder(order_id=order))
        gate.set()
        await app.settled()
        await until_there(app, "running")
        await app.settled()
        (row,) = await rows(app, saga_table("Hasty"))
        assert (row.state, list(row.due)) == (
            '{"seen":["refused","paid"]}',
            ["PaymentDue"] if instead == "longer" else [],
        )
        assert await rows(app, tasks_table("Hasty"), "state = 'parked'") == []
        assert (await app.status()).problems == ()


@pytest.mark.parametrize("is_paid", [False, True], ids=["alone", "with what waits behind it"])
async def test_a_saga_that_cancels_what_failed_as_its_worker_ends_is_stuck_no_more(
    tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch, is_paid: bool
) -> None:
    """S1, S2: whoever is next found nothing that could be tried again, and it was stuck for ever."""
    gate, order, end = asyncio.Event(), new_id(), InHand.end

    async def ending(self: InHand, seconds: float) -> None:
        gate.set()
        await end(self, seconds)

    def service() -> App:
        app = shop_app(f"sqlite:///{tmp_path}/shop.db", clock, Hasty)

        @app.command_handler
        async def ask(command: Ask) -> None:
            await gate.wait()
            raise AlreadyShippedError("no")

        return app

    monkeypatch.setattr(InHand, "end", ending)
    async with service() as app:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await until_there(app, "running")
        clock.advance(timedelta(hours=1))
        await until_there(app, "stuck")
        if is_paid:
            await app.commands.dispatch(PayOrder(order_id=order))
    async with service() as app:
        seen = '{"seen":["refused","paid"]}' if is_paid else '{"seen":["refused"]}'
        async with asyncio.timeout(10):
            while [(row.status, row.state) for row in await rows(app, saga_table("Hasty"))] != [("running", seen)]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await app.settled()
        assert (await app.status()).problems == ()


async def until_there(app: App, status: str) -> None:
    """Return when the saga is so."""
    async with asyncio.timeout(10):
        while [row.status for row in await rows(app, saga_table("Hasty"))] != [status]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
