"""A reaction as its user sees it, on every store: once at least for each event, in order, under a key of its own."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from diptych import App, IdempotencyKey, Metadata, new_id
from diptych.app.tuning import Tuning
from diptych.errors import UnknownOutcomeError
from diptych.store.protocols import Append, Appended
from diptych.subscriptions.duty import LANES
from diptych.subscriptions.lane_work import LaneWork
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.reading import Pace
from diptych.subscriptions.tasks import Task, tasks_table
from tests.sagas.faults import Append_, is_turn, on_append, rows
from tests.sagas.shop import OrderCancelled, OrderPaid, OrderPlaced, PayOrder, PlaceOrder, shop
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Mailer:
    """Notes what was sent, and fails as it is told."""

    def __init__(self) -> None:
        self.sent: list[tuple[UUID, str, IdempotencyKey]] = []
        self.failures: list[BaseException] = []
        self.hangs_for: set[UUID] = set()

    async def send(self, order: UUID, what: str, key: IdempotencyKey) -> None:
        """Send it."""
        self.sent.append((order, what, key))
        if order in self.hangs_for:
            await asyncio.sleep(3600)
        if self.failures:
            raise self.failures.pop(0)

    def of(self, order: UUID) -> list[str]:
        """What was sent of an order."""
        return [what for one, what, _ in self.sent if one == order]


def made(url: str, mailer: Mailer, begins: str = "head", attempts: int = 8, **pace: float) -> App:
    """The shop, with receipts."""
    app = App(url, tuning=Tuning(pace=Pace(**pace)))  # type: ignore[arg-type]
    app.include(shop())
    app.provide(Mailer, mailer)

    @app.reaction(begins=begins, attempts=attempts)  # type: ignore[call-overload,untyped-decorator]
    async def send_receipt(
        event: OrderPlaced | OrderPaid | OrderCancelled, meta: Metadata, key: IdempotencyKey, mailer: Mailer
    ) -> None:
        await mailer.send(meta.stream.id, type(event).__name__, key)

    return app


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon."""
    monkeypatch.setattr("diptych.reactions.running._FIRST", 0.001)


@pytest.fixture
def mailer() -> Mailer:
    """Who sends."""
    return Mailer()


@pytest.fixture(params=["sqlite", "postgres"])
def lasting(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that is there when its app has ended, and for other processes."""
    return url_for(request, tmp_path)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind."""
    return url_for(request, tmp_path)


@pytest.fixture
async def app(url: str, mailer: Mailer) -> AsyncIterator[App]:
    """The shop, running; three tries each."""
    async with made(url, mailer, attempts=3) as app:
        yield app


async def place(app: App, *, is_paid: bool = False) -> UUID:
    """Place an order."""
    order = new_id()
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
    if is_paid:
        await app.commands.dispatch(PayOrder(order_id=order))
    return order


async def tasks(app: App, state: str) -> list[Task]:
    """What is so, in order."""
    found = await rows(app, tasks_table("send_receipt"), f"state = '{state}' AND kind = 'event'")
    return sorted(found, key=lambda one: one.number)


async def test_each_event_once_in_the_order_of_its_stream(app: App, mailer: Mailer) -> None:
    """S1"""
    orders = [await place(app, is_paid=True) for _ in range(5)]
    await app.settled()
    assert [mailer.of(order) for order in orders] == [["OrderPlaced", "OrderPaid"]] * 5
    assert len({key for _, _, key in mailer.sent}) == 10
    assert len(await tasks(app, "done")) == 10


async def test_a_failure_is_tried_again_under_the_same_key_before_what_follows(app: App, mailer: Mailer) -> None:
    """S1"""
    mailer.failures = [OSError("the line is dead"), asyncio.CancelledError()]
    order = await place(app, is_paid=True)
    await app.settled()
    assert mailer.of(order) == ["OrderPlaced"] * 3 + ["OrderPaid"]
    assert len({key for _, _, key in mailer.sent}) == 2
    assert [(one.name, one.attempts) for one in await tasks(app, "done")] == [("OrderPlaced", 3), ("OrderPaid", 1)]


async def test_what_goes_on_failing_is_put_aside_with_what_follows_of_its_key(app: App, mailer: Mailer) -> None:
    """S1: others go on; after a retry all are sent, in order."""
    mailer.failures = [OSError("the line is dead")] * 3
    order = await place(app, is_paid=True)
    await app.settled()
    other = await place(app)
    await app.settled()
    assert mailer.of(other) == ["OrderPlaced"]
    assert [(one.name, one.attempts) for one in await tasks(app, "parked")] == [("OrderPlaced", 3), ("OrderPaid", 0)]
    mailer.sent.clear()
    await app.events.inline.leases.ask("send_receipt", "retry")
    await until(lambda: len(mailer.sent) == 2)
    await app.settled()
    assert mailer.of(order) == ["OrderPlaced", "OrderPaid"]
    assert len(await tasks(app, "done")) == 3


async def test_a_request_is_carried_out_once(app: App, mailer: Mailer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped is one, though the answer of the commit that says so was lost."""
    mailer.failures = [OSError("the line is dead")] * 3
    order = await place(app, is_paid=True)
    await app.settled()
    await app.commands.dispatch(PayOrder(order_id=order))
    await app.settled()
    mailer.failures = [OSError("still dead")] * 3
    lost: list[Append] = []

    async def loses(one: Append, append: Append_) -> Appended:
        appended = await append(one)
        if is_turn(one) and one.beside is not None and one.beside.answer is not None:
            lost.append(one)
            if len(lost) == 1:
                raise UnknownOutcomeError("no answer")
        return appended

    on_append(app, monkeypatch, loses)
    lane, key = lane_of(str(order), LANES), str(order)
    await app.events.inline.leases.ask_lane("send_receipt", "skip", lane, key=key, reason="he knows")
    async with asyncio.timeout(10):
        while len(await tasks(app, "parked")) != 2:  # noqa: ASYNC110 - it is looked at, not told
            await asyncio.sleep(0.01)
    await app.settled()
    assert [one.name for one in await tasks(app, "skipped")] == ["OrderPlaced"]
    assert [request.outcome for request in await app.events.inline.leases.requests()] == ["2 tried again, 1 left out"]


async def test_a_hanging_one_holds_up_no_other_key_and_no_stop(lasting: str, mailer: Mailer) -> None:
    """It is stopped in the end, and done again when the app is back, under its key."""
    app = made(lasting, mailer)
    async with app:
        order = new_id()
        mailer.hangs_for.add(order)
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        others = [await place(app) for _ in range(8)]
        await until(lambda: len(mailer.sent) == 9)
        assert all(mailer.of(other) == ["OrderPlaced"] for other in others)
    mailer.hangs_for.clear()
    async with app:
        await app.settled()
    assert mailer.of(order) == ["OrderPlaced"] * 2
    assert len({key for _, _, key in mailer.sent}) == 9
    assert len(mailer.sent) == 10


async def test_what_takes_longer_than_its_timeout_is_tried_again_and_put_aside() -> None:
    """It held up its key for ever, and nobody was told."""
    app, tried, hanging = App("memory:"), list[IdempotencyKey](), asyncio.Event()
    app.include(shop())

    @app.reaction(attempts=2, timeout=timedelta(milliseconds=10))
    async def send_receipt(event: OrderPlaced, key: IdempotencyKey) -> None:
        tried.append(key)
        await hanging.wait()

    async with app:
        await place(app)
        await app.settled()
        (problem,) = (await app.status()).problems
    assert "OrderPlaced: TimeoutError: it ran for more than 0.01 s, and was stopped" in problem
    assert [len(tried), len(set(tried))] == [2, 1]


async def test_a_retry_that_waits_is_waited_for_after_a_restart(lasting: str, mailer: Mailer) -> None:
    """S1: how often it was tried is kept, and what follows of its key comes after it."""
    mailer.failures = [OSError("the line is dead")]
    async with made(lasting, mailer) as app:
        order = await place(app, is_paid=True)
        await app.settled()
    mailer.failures = [OSError("the line is dead")]
    async with made(lasting, mailer) as app:
        await app.commands.dispatch(PayOrder(order_id=order))
        await app.settled()
        assert [one.attempts for one in await tasks(app, "done")] == [2, 1, 2]


@pytest.mark.parametrize(("begins", "sent"), [("head", ["OrderPaid"]), ("beginning", ["OrderPlaced", "OrderPaid"])])
async def test_one_that_is_added_later_begins_where_it_says(
    lasting: str, mailer: Mailer, begins: str, sent: list[str]
) -> None:
    """At the head of the log as it is when it is first started, unless told otherwise; and only then."""
    before = App(lasting)
    before.include(shop())
    async with before as app:
        order = await place(app)
    async with made(lasting, mailer, begins=begins) as app:
        pass
    async with before as app:
        await app.commands.dispatch(PayOrder(order_id=order))
    async with made(lasting, mailer, begins=begins) as app:
        await app.settled()
    assert mailer.of(order) == sent


async def test_in_two_processes_each_event_is_taken_once(lasting: str, mailer: Mailer) -> None:
    """P5: they share the lanes, and began at the same place."""
    async with made(lasting, mailer, lease=0.4) as one, made(lasting, mailer, lease=0.4) as other:
        await until(lambda: all(len(app._started().duties.keepers[0].works) == 2 for app in (one, other)))
        orders = [await place(one) for _ in range(12)]
        await until(lambda: len(mailer.sent) >= 12)
        await until(lambda: not any(_in_hand(app) for app in (one, other)))
        assert sorted(order for order, _, _ in mailer.sent) == sorted(orders)


def _in_hand(app: App) -> int:
    works = app._started().duties.keepers[0].works.values()
    return sum(len(work._in_hand) for work in works if isinstance(work, LaneWork))
