"""Steps with compensation, on every store: done in order, undone in reverse, and never given up without a word."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from diptych import (
    App,
    Clock,
    Command,
    DomainError,
    FixedClock,
    IdempotencyKey,
    Steps,
    new_id,
    on,
    step,
)
from diptych.events.codec import Codec
from diptych.events.upcasting import Upcasters
from diptych.sagas.plan import plan_of
from diptych.sagas.row import SagaRow
from diptych.sagas.stepped import Cause, SagaStepped
from diptych.sagas.stepping import Intake, Stepper
from diptych.stream import StreamName
from diptych.subscriptions.tasks import tasks_table
from diptych.subscriptions.turn import Turn
from tests.sagas.shop import (
    AddStock,
    CancelOrder,
    OrderCancelled,
    OrderPlaced,
    PlaceOrder,
    ReleaseStock,
    ReserveStock,
    ShipOrder,
    shop,
)
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Bank:
    """Takes money, or does not, as it is told."""

    def __init__(self) -> None:
        self.charged: list[str] = []
        self.refunded: list[str] = []
        self.failures: list[Exception] = []
        self.refund_failures: list[Exception] = []
        self.hangs = False

    async def charge(self, key: str) -> str:
        """Take the money."""
        self.charged.append(key)
        if self.hangs:
            await asyncio.sleep(3600)
        if self.failures:
            raise self.failures.pop(0)
        return f"payment {key}"

    async def refund(self, key: str) -> None:
        """Give it back."""
        self.refunded.append(key)
        if self.refund_failures:
            raise self.refund_failures.pop(0)


class CardDeclinedError(DomainError):
    """The bank said no."""


class Checkout(Steps):
    """Reserve, charge, ship."""

    product_id: UUID | None = None
    quantity: int = 0

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Begin."""
        self.product_id, self.quantity = event.product_id, event.quantity

    @on
    def cancelled(self, event: OrderCancelled) -> None:
        """Go no further."""
        self.fail(event.reason)

    @step
    def reserve(self) -> Command | None:
        """Reserve."""
        assert self.product_id is not None
        return ReserveStock(product_id=self.product_id, order_id=self.id, quantity=self.quantity)

    @reserve.undo
    def release(self) -> Command | None:
        """Give the stock back."""
        assert self.product_id is not None
        return ReleaseStock(product_id=self.product_id, order_id=self.id)

    @step(deadline=timedelta(minutes=5), attempts=3)
    async def charge(self, bank: Bank, key: IdempotencyKey) -> str:
        """Take the money."""
        return await bank.charge(key)

    @charge.undo
    async def refund(self, bank: Bank, key: IdempotencyKey) -> None:
        """Give it back."""
        await bank.refund(key)

    @step
    def ship(self) -> ShipOrder:
        """Ship."""
        return ShipOrder(order_id=self.id)


@pytest.fixture
def bank() -> Bank:
    """The bank."""
    return Bank()


@pytest.fixture
def clock() -> FixedClock:
    """A clock that the tests move."""
    return FixedClock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def app(request: pytest.FixtureRequest, tmp_path: Path, bank: Bank, clock: FixedClock) -> AsyncIterator[App]:
    """The shop, with a saga of steps."""
    app = App(url_for(request, tmp_path), mode="development")
    app.include(shop())
    app.saga(Checkout)
    app.provide(Bank, bank)
    app.provide(Clock, clock)
    async with app:
        yield app


Placing = Callable[[int], Awaitable[tuple[UUID, UUID]]]


@pytest.fixture
def place(app: App) -> Placing:
    """Place an order for one piece of so many."""

    async def placing(stock: int) -> tuple[UUID, UUID]:
        order, product = new_id(), new_id()
        if stock:
            await app.commands.dispatch(AddStock(product_id=product, quantity=stock))
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=1))
        return order, product

    return placing


async def steps(app: App, order: UUID) -> list[SagaStepped]:
    """What the saga took."""
    rows = await app.events.read_stream(StreamName("", "Checkout", order))
    return [event for row in rows if isinstance(event := app.codec.decode(row), SagaStepped)]


async def test_steps_are_done_in_order(app: App, bank: Bank, place: Placing) -> None:
    """S1, S4"""
    order, _ = await place(1)
    await app.settled()
    found = await steps(app, order)
    assert [one.cause.name for one in found] == ["OrderPlaced", "do reserve", "do charge", "do ship"]
    assert found[-1].status == "completed"
    assert found[-1].state["progress"]["results"] == {"charge": f"payment {bank.charged[0]}"}
    assert len(bank.charged) == 1


async def test_a_refusal_undoes_what_was_done_in_reverse(app: App, bank: Bank, place: Placing) -> None:
    """S3: exactly the completed steps."""
    bank.failures.append(CardDeclinedError("no cover"))
    order, product = await place(1)
    await app.settled()
    found = await steps(app, order)
    assert [one.cause.name for one in found] == ["OrderPlaced", "do reserve", "do charge", "undo reserve"]
    assert (found[-1].status, found[-1].state["progress"]["failed"]) == (
        "compensated",
        "charge: CardDeclinedError: no cover",
    )
    assert bank.refunded == []
    names = [row.type for row in await app.events.read_stream(StreamName("", "Stock", product))]
    assert names == ["StockAdded", "StockReserved", "StockReleased"]


async def test_a_fault_is_tried_again_under_the_same_key(app: App, bank: Bank, place: Placing) -> None:
    """S1"""
    bank.failures.append(OSError("the line is dead"))
    order, _ = await place(1)
    await app.settled()
    assert (await steps(app, order))[-1].status == "completed"
    assert len(bank.charged) == 2
    assert len(set(bank.charged)) == 1


async def test_what_may_have_happened_is_undone_too(app: App, bank: Bank, place: Placing) -> None:
    """S3: a call that failed by a fault to its last try may have taken the money."""
    bank.failures.extend(OSError("the line is dead") for _ in range(3))
    order, _ = await place(1)
    await app.settled()
    found = await steps(app, order)
    assert [one.cause.name for one in found][-3:] == ["do charge", "undo charge", "undo reserve"]
    assert found[-1].status == "compensated"
    assert len(bank.refunded) == 1


async def test_a_step_has_a_deadline(app: App, bank: Bank, clock: FixedClock, place: Placing) -> None:
    """A call that hangs is stopped, and undone, for it may have happened."""
    bank.hangs = True
    order, _ = await place(1)
    await until(lambda: bool(bank.charged))
    clock.advance(timedelta(minutes=6))
    await app.settled()
    found = await steps(app, order)
    assert [one.cause.name for one in found][-3:] == ["step charge", "undo charge", "undo reserve"]
    assert found[-1].status == "compensated"


def test_the_deadline_of_a_step_counts_from_when_it_is_begun() -> None:
    """Not from when the event was recorded: a worker that had been down gave up at once what it had just begun."""

    class Charging(Steps):
        @on(starts=True)
        def placed(self, event: OrderPlaced) -> None: ...

        @step(deadline=timedelta(minutes=5))
        async def charge(self) -> None: ...

    order, plan, now = new_id(), plan_of(Charging), 1_800_000_000_000_000
    turn = Turn(0, now, tasks_table("Charging"), is_real=True)
    row = SagaRow(order, 0, str(order), "", "running", "{}", "{}", 0, now, now, "")
    cause, an_hour = Cause(kind="event", name="OrderPlaced", id=new_id(), position=1), 3_600_000_000
    placed = OrderPlaced(product_id=new_id(), quantity=1)
    intake = Intake(cause, plan.events[OrderPlaced], placed, None, 1, now - an_hour)
    row = Stepper(plan, Codec(Upcasters())).take(row, intake, turn)
    assert row.due == {"step charge": now + 300_000_000}


async def test_the_saga_may_fail_by_itself(app: App, bank: Bank, clock: FixedClock, place: Placing) -> None:
    """An event may end it, whatever is being done."""
    bank.hangs = True
    order, _ = await place(1)
    await until(lambda: bool(bank.charged))
    await app.commands.dispatch(CancelOrder(order_id=order, reason="changed my mind"))
    await app.settled()
    found = await steps(app, order)
    assert [one.cause.name for one in found][-3:] == ["OrderCancelled", "undo charge", "undo reserve"]


async def test_a_first_step_that_is_refused_leaves_nothing_to_undo(app: App, place: Placing) -> None:
    """S3"""
    order, _ = await place(0)
    await app.settled()
    found = await steps(app, order)
    assert [one.cause.name for one in found] == ["OrderPlaced", "do reserve"]
    assert found[-1].status == "compensated"


async def test_a_compensation_is_tried_until_it_works(app: App, bank: Bank, place: Placing) -> None:
    """S3"""
    bank.failures.extend(OSError("the line is dead") for _ in range(3))
    bank.refund_failures.append(OSError("still dead"))
    order, _ = await place(1)
    await app.settled()
    assert (await steps(app, order))[-1].status == "compensated"
    assert len(bank.refunded) == 2
    assert len(set(bank.refunded)) == 1
