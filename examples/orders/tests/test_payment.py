"""Checked out, paid, given back: what may come twice or late changes nothing, or is undone."""

from decimal import Decimal

import pytest

from diptych import App, DomainEvent
from diptych.testing.scenario import Request, Scenario
from examples.orders.checkout import CheckOut, SetGoodsAside, ShipOrder
from examples.orders.inventory import InsufficientInventoryError, StockReleased, StockReserved, StockShipped
from examples.orders.orders import (
    AddOrderItem,
    CancelOrder,
    GoodsSetAside,
    InvalidOperationError,
    Order,
    OrderCancelled,
    OrderCheckedOut,
    OrderStatus,
    OrderStatusChanged,
    RemoveOrderItem,
    UpdateOrderStatus,
)
from examples.orders.payments import (
    DeclinePayment,
    NotPaidError,
    Payment,
    PaymentDeclined,
    PaymentReceived,
    PaymentRefunded,
    PaymentRequested,
    RecordPayment,
    RecordRefund,
    RefundPayment,
    RefundRequested,
    RequestPayment,
)
from examples.orders.reading.order_book import OrderDetail
from examples.orders.tests.conftest import ADA, CREATED, FOUR_MUGS, HOME, MUG, TODAY, TWO_TEAPOTS, added, item

CHECKED_OUT = OrderCheckedOut(customer_id=ADA, total_amount=Decimal("47.00"))
SET_ASIDE = GoodsSetAside()
SHIPPED = OrderStatusChanged(status=OrderStatus.SHIPPED)
CANCELLED = OrderCancelled(reason="late", customer_id=ADA, placed_on=TODAY.date(), total_amount=Decimal("47.00"))

REQUESTED = PaymentRequested(customer_id=ADA, amount=Decimal("47.00"))
RECEIVED = PaymentReceived(customer_id=ADA, amount=Decimal("47.00"), reference="ch_1")
DECLINED = PaymentDeclined(reason="no cover")
TO_REFUND = RefundRequested(reference="ch_1")
REFUNDED = PaymentRefunded()


@pytest.fixture
def payment(app: App) -> Scenario[Payment]:
    """What is to be paid for an order."""
    return Scenario(Payment, app)


# --- orders ---------------------------------------------------------------------------------------


def test_an_order_is_checked_out_and_nothing_set_aside_yet(scenario: Scenario[Order]) -> None:
    scenario.when(CheckOut(order_id=scenario.id, customer_id=ADA, items=[TWO_TEAPOTS], shipping_address=HOME))
    scenario.then(CREATED, added(1, TWO_TEAPOTS), CHECKED_OUT)


def test_checking_out_is_accepted_and_not_done_yet(scenario: Scenario[Order]) -> None:
    teapots = {"product_id": str(TWO_TEAPOTS.product_id), "quantity": 2, "unit_price": "23.50"}
    body = {"order_id": str(scenario.id), "customer_id": str(ADA), "items": [teapots]}
    scenario.when(Request("POST", "/api/v1/checkouts", json={**body, "shipping_address": HOME.model_dump()}))
    scenario.then_status(202, order_id=scenario.id).then(CREATED, added(1, TWO_TEAPOTS), CHECKED_OUT)


def test_goods_are_set_aside_once(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS), CHECKED_OUT)
    scenario.when(SetGoodsAside(order_id=scenario.id))
    scenario.then(SET_ASIDE, StockReserved(order_id=scenario.id, quantity=2))
    scenario.then_row(OrderDetail, scenario.id, version=4)
    scenario.when(SetGoodsAside(order_id=scenario.id)).then_nothing()


def test_goods_are_set_aside_all_or_none(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS), added(2, item(MUG, 11, "6.95")), CHECKED_OUT)
    scenario.when(SetGoodsAside(order_id=scenario.id)).then_rejected(InsufficientInventoryError, match="11 wanted")


def test_goods_of_a_cancelled_order_are_not_set_aside_any_more(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS), CHECKED_OUT, CANCELLED)
    scenario.when(SetGoodsAside(order_id=scenario.id)).then_rejected(InvalidOperationError, match="cancelled")


def test_nothing_is_released_that_was_not_set_aside(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS), CHECKED_OUT)
    scenario.when(CancelOrder(order_id=scenario.id, reason="late")).then(CANCELLED)


def test_what_was_set_aside_is_released(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS), CHECKED_OUT, SET_ASIDE)
    scenario.when(CancelOrder(order_id=scenario.id, reason="late"))
    scenario.then(CANCELLED, StockReleased(order_id=scenario.id, quantity=2, value=Decimal("47.00")))


def test_a_paid_order_is_shipped_once(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS), CHECKED_OUT, SET_ASIDE)
    scenario.when(ShipOrder(order_id=scenario.id)).then(SHIPPED, StockShipped(order_id=scenario.id, quantity=2))
    scenario.when(ShipOrder(order_id=scenario.id)).then_nothing()


@pytest.mark.parametrize(("before", "why"), [(CHECKED_OUT, "were not set aside"), (CANCELLED, "ship a cancelled")])
def test_an_order_is_not_shipped_without_goods_or_when_it_is_off(
    scenario: Scenario[Order], before: DomainEvent, why: str
) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS), CHECKED_OUT, before)
    scenario.when(ShipOrder(order_id=scenario.id)).then_rejected(InvalidOperationError, match=why)


def test_what_is_to_be_paid_does_not_change_and_nobody_ships_it_by_hand(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS), added(2, FOUR_MUGS), CHECKED_OUT, SET_ASIDE)
    for command in (
        AddOrderItem(order_id=scenario.id, item=FOUR_MUGS),
        RemoveOrderItem(order_id=scenario.id, line=1),
        UpdateOrderStatus(order_id=scenario.id, status=OrderStatus.SHIPPED),
    ):
        scenario.when(command).then_rejected(InvalidOperationError)


# --- payments -------------------------------------------------------------------------------------


def test_money_is_asked_for_once(payment: Scenario[Payment]) -> None:
    ask = RequestPayment(payment_id=payment.id, customer_id=ADA, amount=Decimal("47.00"))
    payment.when(ask).then(REQUESTED)
    payment.when(ask).then_nothing()


def test_money_is_received_once_however_often_it_is_said(payment: Scenario[Payment]) -> None:
    payment.given(REQUESTED).when(RecordPayment(payment_id=payment.id, reference="ch_1")).then(RECEIVED)
    payment.when(RecordPayment(payment_id=payment.id, reference="ch_1")).then_nothing()
    payment.when(DeclinePayment(payment_id=payment.id, reason="no cover")).then_nothing()


def test_a_payment_is_declined_once(payment: Scenario[Payment]) -> None:
    decline = DeclinePayment(payment_id=payment.id, reason="no cover")
    payment.given(REQUESTED).when(decline).then(DECLINED)
    payment.when(decline).then_nothing()


def test_money_that_comes_although_it_was_declined_goes_back(payment: Scenario[Payment]) -> None:
    payment.given(REQUESTED, DECLINED)
    payment.when(RecordPayment(payment_id=payment.id, reference="ch_1")).then(RECEIVED, TO_REFUND)


def test_money_goes_back_once(payment: Scenario[Payment]) -> None:
    payment.given(REQUESTED, RECEIVED)
    payment.when(RefundPayment(payment_id=payment.id)).then(TO_REFUND)
    payment.when(RefundPayment(payment_id=payment.id)).then_nothing()
    payment.when(RecordRefund(payment_id=payment.id)).then(REFUNDED)
    payment.when(RecordRefund(payment_id=payment.id)).then_nothing()
    payment.when(RefundPayment(payment_id=payment.id)).then_nothing()
    payment.when(RecordPayment(payment_id=payment.id, reference="ch_1")).then_nothing()


def test_what_was_not_received_is_not_given_back(payment: Scenario[Payment]) -> None:
    payment.given(REQUESTED).when(RefundPayment(payment_id=payment.id)).then_rejected(NotPaidError)
