"""Steps that are renamed or removed while sagas are under way: none is forgotten, and none done twice."""

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from diptych import App, Steps, Timeout, new_id, on, step
from diptych.app.duty_operating import duties_from_outside
from diptych.app.known_duties import duty_named
from diptych.sagas.saga import Saga
from tests.sagas.shop import OrderPaid, OrderPlaced, PayOrder, PlaceOrder, shop
from tests.waiting import until

pytestmark = pytest.mark.anyio

called: list[str] = []


class Before(Steps, name="Checkout"):
    """As it was: the second step hangs."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...

    @step
    async def reserve(self) -> None:
        called.append("reserve")

    @reserve.undo
    async def release(self) -> None:
        called.append("release")

    @step
    async def charge(self) -> None:
        called.append("charge")
        await asyncio.Event().wait()

    @charge.undo
    async def refund(self) -> None:
        called.append("refund")


class ChargeRenamed(Steps, name="Checkout"):
    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...

    @step
    async def reserve(self) -> None:
        called.append("reserve again")

    @step
    async def pay(self) -> None:
        called.append("pay")


class ReserveRenamed(Steps, name="Checkout"):
    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...

    @step
    async def book(self) -> None:
        called.append("book")

    @step
    async def charge(self) -> None:
        called.append("charged")


class Mended(Before, name="Checkout"):
    @step
    async def charge(self) -> None:  # type: ignore[override]
        called.append("charged")


def shop_with(saga: type[Saga], folder: Path) -> App:
    """The shop with this saga, on the same store."""
    app = App(f"sqlite:///{folder}/shop.db")
    app.include(shop())
    app.saga(saga)
    return app


async def begin(folder: Path) -> UUID:
    """Have a saga that is charging when its process ends."""
    called.clear()
    order = new_id()
    async with shop_with(Before, folder) as app:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await until(lambda: "charge" in called)
    return order


async def problem(app: App) -> str:
    """What is wrong with the saga, once nothing moves."""
    await app.settled()
    (saga,) = (await app.status()).duties
    assert (saga.state, saga.stuck) == ("parked", 1)
    return str(saga.problem)


async def ask(app: App, verb: str, key: UUID) -> None:
    """Act as an operator."""
    async with duties_from_outside(app) as operator:
        duty = duty_named(operator.known.duties, ("saga",), "Checkout")
        assert all(one.outcome for one in await operator.ask(duty, verb, str(key), "test", 5.0))  # type: ignore[arg-type]
    await app.settled()


async def test_a_step_that_is_gone_while_it_is_done_makes_its_saga_stuck(tmp_path: Path) -> None:
    """S1: it was dropped in silence, and the saga ran for ever."""
    order = await begin(tmp_path)
    async with shop_with(ChargeRenamed, tmp_path) as app:
        assert "there is no step charge to do any more" in await problem(app)
        assert "pay" not in called
    async with shop_with(Mended, tmp_path) as app:
        await ask(app, "retry", order)
        assert called == ["reserve", "charge", "charged"]
        assert [one.stuck for one in (await app.status()).duties] == [0]


async def test_a_step_that_is_gone_can_be_left_out(tmp_path: Path) -> None:
    order = await begin(tmp_path)
    async with shop_with(ChargeRenamed, tmp_path) as app:
        await problem(app)
        await ask(app, "skip", order)
        assert called == ["reserve", "charge", "pay"]
        assert [one.stuck for one in (await app.status()).duties] == [0]


async def test_a_step_that_was_done_under_another_name_is_not_done_again(tmp_path: Path) -> None:
    """S3: nobody knows how to undo the one, and the other would do it twice."""
    order = await begin(tmp_path)
    async with shop_with(ReserveRenamed, tmp_path) as app:
        told = await problem(app)
        assert "there is no step reserve any more" in told
        assert "book" not in called
    async with shop_with(Mended, tmp_path) as app:
        await ask(app, "retry", order)
        assert [one.stuck for one in (await app.status()).duties] == [0]
    assert "book" not in called


class WithText(Saga, name="Checkout"):
    """As it was."""

    product: str = ""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        self.product = "a chair"


class WithNumber(Saga, name="Checkout"):
    """Its memory is another since."""

    product: int = 0

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...

    @on
    def paid(self, event: OrderPaid) -> None: ...


async def test_memory_that_fits_no_more_is_named(tmp_path: Path) -> None:
    """An operator was shown three lines of a validator, none of which said what to do."""
    order = new_id()
    async with shop_with(WithText, tmp_path) as app:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await app.settled()
    async with shop_with(WithNumber, tmp_path) as app:
        await app.commands.dispatch(PayOrder(order_id=order))
        told = await problem(app)
    assert f"WithNumber({order}): what it remembered does not fit its class any more: product: Input should be" in told


def due_before() -> type[Saga]:
    """A saga with a timer that has no fields."""

    class Reminder(Timeout): ...

    class Reminding(Saga, name="Checkout"):
        @on(starts=True)
        def placed(self, event: OrderPlaced) -> None:
            self.schedule(Reminder(), after=timedelta())

        @on
        def due(self, timeout: Reminder) -> None:
            raise ValueError("not yet")

        @on
        def paid(self, event: OrderPaid) -> None: ...

    return Reminding


def due_since() -> type[Saga]:
    """The same; its timer has a field since, and payments are none of its business."""

    class Reminder(Timeout):
        text: str

    class Reminding(Saga, name="Checkout"):
        @on(starts=True)
        def placed(self, event: OrderPlaced) -> None: ...

        @on
        def due(self, timeout: Reminder) -> None: ...

    return Reminding


async def test_a_timer_or_an_event_that_fits_no_more_stops_no_other_saga(tmp_path: Path) -> None:
    """P7: what was put aside was tried again with the new class, and the whole lane stopped."""
    order = new_id()
    async with shop_with(due_before(), tmp_path) as app:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await app.settled()
        await app.commands.dispatch(PayOrder(order_id=order))
        assert "ValueError: not yet" in await problem(app)
    async with shop_with(due_since(), tmp_path) as app:
        await ask(app, "retry", order)
        assert "no @on method takes OrderPaid any more" in await problem(app)
        await ask(app, "skip", order)
        told = await problem(app)
        assert "Reminder as it was scheduled does not fit its class any more: text: Field required" in told
        await ask(app, "skip", order)
        for _ in range(8):
            await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        await app.settled()
        assert (await app.status()).problems == ()
