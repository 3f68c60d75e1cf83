"""When timers act: on time, however busy the log is, and never before what was in it at their time is taken in."""

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from diptych import App, FixedClock, Saga, Timeout, new_id, on
from diptych.clock import SystemClock
from diptych.sagas.row import saga_table
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY, StreamName
from diptych.subscriptions.reading import SharedPage
from diptych.subscriptions.tasks import tasks_table
from tests.sagas.faults import rows
from tests.sagas.shop import AddStock, OrderPaid, OrderPlaced, PayOrder, PlaceOrder, StockAdded, shop, shop_app
from tests.urls import url_for

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> FixedClock:
    """A clock that the tests move."""
    return FixedClock()


@pytest.fixture(params=["sqlite", "postgres"])
def lasting(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that is there when its app has ended, and for other processes."""
    return url_for(request, tmp_path)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind."""
    return url_for(request, tmp_path)


async def place(app: App) -> UUID:
    """Place an order."""
    order, product = new_id(), new_id()
    await app.commands.dispatch(AddStock(product_id=product, quantity=1))
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=1))
    await app.settled()
    return order


async def orders(app: App, order: UUID) -> list[str]:
    """The events of an order."""
    return [row.type for row in await app.events.read_stream(StreamName("", "Order", order))]


async def test_it_acts_while_the_log_goes_on_growing(clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """S2: it waits for what was there at its time, and not for an end of the log that never comes."""
    async with shop_app("memory:", clock) as app:
        order = await place(app)
        reader = app._started().engine.reader
        page = reader.page

        async def busy(after: int, event_id: bytes = b"") -> SharedPage | None:
            event = app.codec.encode(StockAdded(quantity=1))
            await app.events.append(Append([StreamWrite(StreamName("", "Other", new_id()), ANY, [event])]))
            await asyncio.sleep(0.002)  # the lanes take turns
            return await page(after, event_id)

        monkeypatch.setattr(reader, "page", busy)
        clock.advance(timedelta(hours=1))
        async with asyncio.timeout(5):
            while "OrderCancelled" not in await orders(app, order):  # noqa: ASYNC110 - it is looked at, not told
                await asyncio.sleep(0.01)
        monkeypatch.undo()


async def test_an_order_that_was_paid_while_the_worker_was_down_is_not_cancelled(
    lasting: str, clock: FixedClock
) -> None:
    """S2: down from 10:00 to 11:00, the money due at 10:30, and paid at 10:05."""
    web = App(lasting, mode="development")
    web.include(shop())
    async with shop_app(lasting, clock) as app:
        order = await place(app)
    clock.advance(timedelta(minutes=5))
    async with web:
        await web.commands.dispatch(PayOrder(order_id=order))
        for _ in range(20):
            await web.commands.dispatch(AddStock(product_id=new_id(), quantity=1))
    clock.advance(timedelta(minutes=55))
    async with shop_app(lasting, clock) as app:
        await app.settled()
        assert await orders(app, order) == ["OrderPlaced", "OrderPaid", "OrderShipped"]


async def test_it_acts_at_its_time_and_not_before(clock: FixedClock) -> None:
    """S2"""
    async with shop_app("memory:", clock) as app:
        order = await place(app)
        clock.advance(timedelta(minutes=30) - timedelta(microseconds=1))
        await app.settled()
        assert await orders(app, order) == ["OrderPlaced"]
        clock.advance(timedelta(microseconds=1))
        await app.settled()
        assert await orders(app, order) == ["OrderPlaced", "OrderCancelled"]


async def test_it_acts_once_over_two_workers_and_a_restart(lasting: str, clock: FixedClock) -> None:
    """S2"""
    async with shop_app(lasting, clock) as app:
        order = await place(app)
    clock.advance(timedelta(hours=1))
    async with shop_app(lasting, clock) as one, shop_app(lasting, clock):
        async with asyncio.timeout(10):
            while await rows(one, tasks_table("Fulfilment"), "kind <> 'start'"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    async with shop_app(lasting, clock) as app:
        await app.settled()
        assert await orders(app, order) == ["OrderPlaced", "OrderCancelled"]


class Ring(Timeout):
    """It rings."""

    name: str


class Alarm(Saga):
    """Sets its clock in all the ways there are."""

    rung: list[str] = []

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Once is enough: the last word counts."""
        self.schedule(Ring(name="first"), after=timedelta(minutes=1))
        self.cancel(Ring)
        self.schedule(Ring(name="second"), after=timedelta(minutes=2))

    @on
    def paid(self, event: OrderPaid) -> None:
        """Not at all."""
        self.schedule(Ring(name="third"), after=timedelta(minutes=1))
        self.cancel(Ring)

    @on
    def ring(self, timeout: Ring) -> None:
        """Ring, and again a minute later."""
        self.rung.append(timeout.name)
        if len(self.rung) < 3:
            self.schedule(Ring(name=f"{timeout.name} again"), after=timedelta(minutes=1))


async def test_the_last_word_of_a_step_counts(url: str, clock: FixedClock) -> None:
    """S2: set again is another time; cancelled does not act; set while it acts is another one."""
    async with shop_app(url, clock, Alarm) as app:
        order = await place(app)
        clock.advance(timedelta(seconds=100))
        await app.settled()
        (row,) = await rows(app, saga_table("Alarm"))
        assert '"rung":[]' in row.state
        clock.advance(timedelta(minutes=10))
        await app.settled()
        (row,) = await rows(app, saga_table("Alarm"))
        assert row.state == '{"rung":["second","second again","second again again"]}'
        await app.commands.dispatch(PayOrder(order_id=order))
        await app.settled()
        clock.advance(timedelta(minutes=10))
        await app.settled()
        assert (await rows(app, saga_table("Alarm")))[0].state == row.state
        assert await rows(app, tasks_table("Alarm"), "kind = 'timer'") == []


class Quick(Saga):
    """Waits a moment."""

    late: int = 0

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Wait."""
        self.schedule(Ring(name=""), after=timedelta(milliseconds=300))

    @on
    def ring(self, timeout: Ring) -> None:
        """Be done."""
        self.complete()


async def test_it_wakes_up_by_itself(url: str) -> None:
    """S2: with the machine's clock, in an idle process, before anything else would wake it."""
    async with shop_app(url, SystemClock(), Quick) as app:
        await place(app)
        async with asyncio.timeout(2):  # an idle lane looks by itself every five seconds
            while [row.status for row in await rows(app, saga_table("Quick"))] != ["completed"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
