"""A saga's story: what it is given, what it takes, what it asks for."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from diptych import Rejected, Saga, new_id, on
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
