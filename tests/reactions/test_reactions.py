"""A reaction as its user sees it, on every store: once at least for each event, in order, under a key of its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from diptych import App, Clock, FixedClock, IdempotencyKey, Metadata, new_id
from diptych.app.tuning import Tuning
from diptych.errors import UnknownOutcomeError
from diptych.store.batches import Checkpoint
from diptych.store.leases import Held
from diptych.store.protocols import Append, Appended
from diptych.store.sqlite.events import SqliteEventStore
from diptych.subscriptions.duty import LANES
from diptych.subscriptions.lane_work import LaneWork
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.reading import Pace
from diptych.subscriptions.shelf import Shelf
from diptych.subscriptions.tasks import EVENT, WAITING, Task, tasks_table
from tests.sagas.faults import Append_, is_turn, on_append, rows, tasks_of
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


@pytest.mark.parametrize(("attempts", "put_aside"), [(1, ["OrderPlaced", "OrderPaid"]), (2, [])])
async def test_what_follows_is_put_aside_in_the_turn_that_puts_the_failing_one_aside_and_in_no_other(
    attempts: int, put_aside: list[str]
) -> None:
    """S1: both are in hand when the first fails; if it is to be tried again, the other only waits."""
    mailer, gate = Mailer(), asyncio.Event()
    send, mailer.failures = mailer.send, [OSError("the line is dead")]

    async def wait(order: UUID, what: str, key: IdempotencyKey) -> None:
        await gate.wait()
        await send(order, what, key)

    mailer.send = wait  # type: ignore[method-assign]
    async with made("memory:", mailer, attempts=attempts) as app:
        order = await place(app, is_paid=True)
        await until(lambda: _in_hand(app) == 2)
        gate.set()
        await until(lambda: len(mailer.sent) == (1 if put_aside else 3))
        await app.settled()
        assert [one.name for one in await tasks(app, "parked")] == put_aside
        assert mailer.of(order) == (["OrderPlaced"] if put_aside else ["OrderPlaced", "OrderPlaced", "OrderPaid"])


class UntoldError(Exception):
    """One whose own code has a fault."""

    def __str__(self) -> str:
        return self.message  # type: ignore[attr-defined, no-any-return]


async def test_a_failure_that_cannot_say_itself_is_put_aside_like_any_other(app: App, mailer: Mailer) -> None:
    """P7: it stopped the lane, and was tried again each minute with all that was in hand there, for ever."""
    mailer.failures = [UntoldError() for _ in range(3)]
    failing = await place(app)
    await app.settled()
    assert len(mailer.of(failing)) == 3
    (task,) = await tasks(app, "parked")
    assert task.error == "UntoldError: what it says cannot be told, for that raised AttributeError"


async def test_what_is_tried_again_is_tried_as_often_as_at_first(app: App, mailer: Mailer) -> None:
    mailer.failures = [OSError("the line is dead")] * 3
    order = await place(app)
    await app.settled()
    mailer.failures = [OSError("the line is dead")] * 2
    await app.events.inline.leases.ask("send_receipt", "retry")
    await until(lambda: len(mailer.sent) == 6, 4)  # an idle lane looks by itself every five seconds
    await app.settled()
    assert mailer.of(order) == ["OrderPlaced"] * 6
    assert [one.attempts for one in await tasks(app, "done")] == [3]


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


async def test_what_was_done_is_kept_for_a_month_and_no_longer(mailer: Mailer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked for once a minute at most, and a few at a time."""
    monkeypatch.setattr("diptych.subscriptions.lane_work._AT_ONCE", 2)
    looked: list[Shelf] = []
    outdated = Shelf.outdated

    async def look(shelf: Shelf, before: int, most: int) -> Sequence[Task]:
        looked.append(shelf)
        return await outdated(shelf, before, most)

    monkeypatch.setattr(Shelf, "outdated", look)
    app, clock = made("memory:", mailer), FixedClock()
    app.provide(Clock, clock)
    async with app:
        order = await place(app)
        for _ in range(5):
            await app.commands.dispatch(PayOrder(order_id=order))
        await app.settled()
        await app.commands.dispatch(PayOrder(order_id=order))
        await app.settled()
        assert len(looked) == LANES
        clock.advance(timedelta(days=29))
        await app.commands.dispatch(PayOrder(order_id=order))
        await app.settled()
        assert len(looked) == 2 * LANES
        assert len(await tasks(app, "done")) == 8
        clock.advance(timedelta(days=2))
        await app.commands.dispatch(PayOrder(order_id=order))
        async with asyncio.timeout(4):  # an idle lane looks by itself every five seconds
            while len(await tasks(app, "done")) != 2:  # noqa: ASYNC110 - it is looked at, not told
                await asyncio.sleep(0.01)


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


async def test_a_lane_that_was_only_just_claimed_is_not_settled(mailer: Mailer) -> None:
    """It has not looked yet at what is owed."""
    async with made("memory:", mailer) as app:
        (keeper,) = app._started().duties.keepers
        work = keeper.duty.work(keeper._desk, Held(0, 1, Checkpoint(), True, 0))
        assert not work.is_settled(0)


async def test_of_a_long_page_a_few_events_are_taken_at_a_time(
    mailer: Mailer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S1, P8: and the rest of the page after them."""
    monkeypatch.setattr("diptych.subscriptions.lane_work._AT_ONCE", 2)
    url, turns = f"sqlite:///{tmp_path}/shop.db", list[int]()
    before = App(url)
    before.include(shop())
    async with before as app:
        order = await place(app)
        for _ in range(6):
            await app.commands.dispatch(PayOrder(order_id=order))
    append = SqliteEventStore.append

    async def count(store: SqliteEventStore, one: Append) -> Appended:
        turns.append(sum(task.kind == EVENT and task.state == WAITING for task in tasks_of(one)))
        return await append(store, one)

    monkeypatch.setattr(SqliteEventStore, "append", count)
    async with made(url, mailer, begins="beginning") as app:
        await app.settled()
    assert mailer.of(order) == ["OrderPlaced", *["OrderPaid"] * 6]
    assert (sum(turns), max(turns)) == (7, 2)


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
