"""What was put aside and is tried again ends as if it had never failed: in order, with its timers, and not stuck."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from diptych import App, Command, FixedClock, Saga, Timeout, new_id, on
from diptych.sagas.row import SagaRow, saga_table
from diptych.stream import StreamName
from diptych.subscriptions.tasks import Task, tasks_table
from tests.sagas.faults import rows
from tests.sagas.shop import (
    CancelOrder,
    OrderCancelled,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
    PayOrder,
    PlaceOrder,
    ShipOrder,
    shop_app,
)
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio

BUGS: set[str] = set()
GATES: list[asyncio.Event] = []


class PaymentDue(Timeout):
    """The money should be there."""


class Ask(Command):
    """Ask somebody, who may be out of order."""

    order_id: UUID


class Careful(Saga):
    """Waits for money; each of its methods may have a bug."""

    seen: list[str] = []

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Wait for the money."""
        self._note("placed")
        self.dispatch(Ask(order_id=self.id))
        self.schedule(PaymentDue(), after=timedelta(minutes=30))

    @on
    def paid(self, event: OrderPaid) -> None:
        """Ship."""
        self._note("paid")
        self.cancel(PaymentDue)
        self.dispatch(ShipOrder(order_id=self.id))

    @on
    def shipped(self, event: OrderShipped) -> None:
        """Note it."""
        self._note("shipped")

    @on
    def cancelled(self, event: OrderCancelled) -> None:
        """Note it."""
        self._note("cancelled")

    @on
    def unpaid(self, timeout: PaymentDue) -> None:
        """Cancel."""
        self._note("unpaid")
        self.dispatch(CancelOrder(order_id=self.id, reason="not paid"))

    def _note(self, what: str) -> None:
        if what in BUGS:
            raise ZeroDivisionError(what)
        self.seen = [*self.seen, what]


@pytest.fixture(autouse=True)
def bugs() -> Iterator[None]:
    """Begin without."""
    BUGS.clear()
    GATES.clear()
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


def made(url: str, clock: FixedClock) -> App:
    """The shop with a careful saga, and somebody to ask."""
    app = shop_app(url, clock, Careful)

    @app.command_handler
    async def ask(command: Ask) -> None:
        if "out of order" in BUGS:
            raise OSError("out of order")
        if "slow" in BUGS:
            GATES.append(asyncio.Event())
            await GATES[-1].wait()

    return app


@pytest.fixture
async def app(url: str, clock: FixedClock) -> AsyncIterator[App]:
    """The shop, running."""
    async with made(url, clock) as app:
        yield app


async def saga_of(app: App) -> SagaRow:
    """The only saga."""
    (row,) = await rows(app, saga_table("Careful"))
    assert isinstance(row, SagaRow)
    return row


async def parked(app: App) -> list[Task]:
    """What is put aside."""
    return sorted(await rows(app, tasks_table("Careful"), "state = 'parked'"), key=lambda one: one.number)


async def status(app: App, wanted: str) -> None:
    """Return when the saga is so."""
    async with asyncio.timeout(10):
        while wanted not in [row.status for row in await rows(app, saga_table("Careful"))]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def none_is_parked(app: App) -> None:
    """Return when nothing is put aside."""
    async with asyncio.timeout(10):
        while await parked(app):  # noqa: ASYNC110 - it is looked at, not told
            await asyncio.sleep(0.01)


async def all_is_answered(app: App) -> None:
    """Return when what was asked is done."""
    async with asyncio.timeout(10):
        while (await app.events.inline.leases.board()).requests:  # noqa: ASYNC110 - it is looked at, not told
            await asyncio.sleep(0.01)


async def retry(app: App) -> None:
    """Try again what was put aside."""
    await app.events.inline.leases.ask("Careful", "retry")
    await none_is_parked(app)
    await app.settled()


async def place(app: App) -> UUID:
    """Place an order."""
    order = new_id()
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
    await app.settled()
    return order


async def orders(app: App, order: UUID) -> list[str]:
    """The events of an order."""
    return [row.type for row in await app.events.read_stream(StreamName("", "Order", order))]


async def let_fail(app: App, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """Have the first command of a saga put aside, and then the payment that follows."""
    monkeypatch.setattr("diptych.sagas.running._ATTEMPTS", 2)
    BUGS.add("out of order")
    order = new_id()
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
    await status(app, "stuck")
    await app.commands.dispatch(PayOrder(order_id=order))
    await app.settled()
    BUGS.clear()
    return order


async def test_a_command_that_failed_is_sent_when_it_is_tried_again(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """S1: so often by itself, then when somebody says so; the saga is not stuck any more."""
    order = await let_fail(app, monkeypatch)
    assert [(one.name, one.attempts) for one in await parked(app)] == [("Ask", 2), ("OrderPaid", 0)]
    await retry(app)
    assert await orders(app, order) == ["OrderPlaced", "OrderPaid", "OrderShipped"]
    assert (await saga_of(app)).status == "running"


async def test_a_timer_that_failed_acts_when_it_is_tried_again(app: App, clock: FixedClock) -> None:
    """S2: at least once."""
    BUGS.add("unpaid")
    order = await place(app)
    clock.advance(timedelta(hours=1))
    await status(app, "stuck")
    BUGS.clear()
    await retry(app)
    assert await orders(app, order) == ["OrderPlaced", "OrderCancelled"]
    assert (await saga_of(app)).status == "running"


async def test_a_timer_waits_for_what_was_put_aside_before_it(
    app: App, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2: the order was paid; that it is taken late is no reason to cancel it."""
    order = await let_fail(app, monkeypatch)
    clock.advance(timedelta(hours=1))
    await app.settled()
    assert [one.kind for one in await parked(app)] == ["timer", "command", "event"]
    BUGS.add("slow")
    await app.events.inline.leases.ask("Careful", "retry")
    await none_is_parked(app)
    await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
    await until(lambda: len(GATES) == 2)  # another saga has come as far: timers had their turn
    for gate in GATES:
        gate.set()
    await app.settled()
    assert await orders(app, order) == ["OrderPlaced", "OrderPaid", "OrderShipped"]


async def test_a_timer_acts_once_what_it_waited_for_is_taken(app: App, clock: FixedClock) -> None:
    """S2: it was due while an event of its key was put aside, which does not cancel it."""
    BUGS.add("cancelled")
    order = await place(app)
    await app.commands.dispatch(CancelOrder(order_id=order, reason="changed my mind"))
    await status(app, "stuck")
    clock.advance(timedelta(hours=1))
    await app.settled()
    assert [one.kind for one in await parked(app)] == ["timer", "event"]
    for bug in ("cancelled", "none"):
        BUGS.clear()
        BUGS.add(bug)
        await app.events.inline.leases.ask("Careful", "retry")
        await all_is_answered(app)
        await app.settled()
        assert [one.kind for one in await parked(app)] == ([] if bug == "none" else ["timer", "event"])
    assert (await saga_of(app)).state == '{"seen":["placed","cancelled","unpaid","cancelled"]}'


async def test_what_comes_after_a_retry_is_taken_after_it(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """S1: events that come while those before them are still to be taken come after them, in a new process, too."""
    order = await let_fail(app, monkeypatch)
    BUGS.add("slow")
    await app.events.inline.leases.ask("Careful", "retry")
    await none_is_parked(app)
    await app.commands.dispatch(CancelOrder(order_id=order, reason="changed my mind"))
    await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
    await until(lambda: len(GATES) == 2)
    for gate in GATES:
        gate.set()
    await app.settled()
    (row,) = [row for row in await rows(app, saga_table("Careful")) if row.id == order]
    assert (row.status, row.state) == ("running", '{"seen":["placed","paid","cancelled","shipped"]}')
