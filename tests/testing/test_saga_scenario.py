"""A saga's story: what it is given, what it takes, what it asks for."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from diptych import Rejected, Saga, Steps, new_id, on, step
from diptych.errors import ProgrammingError
from diptych.testing.saga_scenario import SagaScenario
from tests.sagas.shop import (
    CancelOrder,
    Fulfilment,
    OrderCancelled,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
    PaymentDue,
    ReleaseStock,
    ReserveStock,
    ShipOrder,
    StockReserved,
)

ORDER, PRODUCT = new_id(), new_id()
PLACED = OrderPlaced(product_id=PRODUCT, quantity=2)
RESERVE = ReserveStock(product_id=PRODUCT, order_id=ORDER, quantity=2)


def story() -> SagaScenario:
    return SagaScenario(Fulfilment, id=ORDER)


def test_it_says_what_is_sent_scheduled_cancelled_and_completed() -> None:
    story().when(PLACED).then_dispatched(RESERVE).then_scheduled(PaymentDue(), after=timedelta(minutes=30))
    story().given(PLACED).when(OrderPaid()).then_dispatched(ShipOrder(order_id=ORDER)).then_cancelled(PaymentDue)
    story().given(PLACED, OrderPaid()).when(OrderShipped()).then_dispatched().then_completed()
    reserved = StockReserved(order_id=ORDER, quantity=2)
    story().given(PLACED).when(reserved).then_state(is_reserved=True)
    release = ReleaseStock(product_id=PRODUCT, order_id=ORDER)
    story().given(PLACED, reserved).when(OrderCancelled(reason="no")).then_dispatched(release).then_completed()


def test_it_takes_timeouts_and_rejections() -> None:
    story().given(PLACED).when(PaymentDue()).then_dispatched(CancelOrder(order_id=ORDER, reason="not paid"))
    refused = Rejected(RESERVE, "OutOfStockError", "0 left")
    story().given(PLACED).when(refused).then_dispatched(CancelOrder(order_id=ORDER, reason="0 left"))


def test_what_is_otherwise_fails() -> None:
    took = story().when(PLACED)
    wrong: list[Callable[[], object]] = [
        took.then_dispatched,
        lambda: took.then_scheduled(PaymentDue(), after=timedelta(minutes=29)),
        lambda: took.then_cancelled(PaymentDue),
        took.then_completed,
        lambda: took.then_state(is_reserved=True),
    ]
    for each in wrong:
        with pytest.raises(AssertionError, match=r"^It "):
            each()


def test_one_that_has_not_begun_takes_nothing() -> None:
    with pytest.raises(ProgrammingError, match="Give it first: OrderPlaced"):
        story().when(OrderPaid())


class Restless(Saga):
    """Decides otherwise each time."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Send something that no second run sends."""
        self.dispatch(ShipOrder(order_id=new_id()))


def test_a_step_that_comes_out_otherwise_when_it_is_taken_again_fails() -> None:
    with pytest.raises(AssertionError, match="two runs of one step are not the same"):
        SagaScenario(Restless).when(PLACED)


def test_a_timeout_comes_only_where_it_was_scheduled_and_not_cancelled() -> None:
    """S2: a story in which a cancelled timer acts is none that can happen."""
    paid = story().given(PLACED, OrderPaid())
    paid.when(PaymentDue()).then_dispatched()
    with pytest.raises(AssertionError, match="PaymentDue is not to come: it was not scheduled, or was cancelled"):
        paid.then_dispatched(CancelOrder(order_id=ORDER, reason="not paid"))
    due = story().given(PLACED, PaymentDue())
    due.when(PaymentDue()).then_dispatched()  # it comes once


def test_one_that_is_complete_takes_nothing_more() -> None:
    """S4"""
    over = story().given(PLACED, OrderShipped())
    over.when(PaymentDue()).then_dispatched()
    with pytest.raises(AssertionError, match="it was complete before, and took no OrderCancelled"):
        over.when(OrderCancelled(reason="late")).then_dispatched(ShipOrder(order_id=ORDER))


class Forgetful(Saga):
    """Schedules what it does not take."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Wait for ever."""
        self.schedule(PaymentDue(), after=timedelta(1))


def test_a_timeout_that_no_method_takes_is_found() -> None:
    """A service would find its first saga stuck."""
    with pytest.raises(ProgrammingError, match="PaymentDue is scheduled, and no @on method takes it"):
        SagaScenario(Forgetful).when(PLACED)


class Shipping(Steps):
    """One step."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Begin."""

    @step(deadline=timedelta(1))
    def ship(self) -> ShipOrder:
        """Ship."""
        return ShipOrder(order_id=self.id)


def test_the_command_of_a_step_is_sent() -> None:
    SagaScenario(Shipping, id=ORDER).when(PLACED).then_dispatched(ShipOrder(order_id=ORDER))
