"""What follows when an order was checked out: goods are set aside, money is taken, the order is shipped; or it is off.

In all cases it ends in one of two ways: shipped and paid, or cancelled, the goods free and the money given back.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from diptych import Module, Rejected, Saga, Timeout, on
from examples.orders.checkout import SetGoodsAside, ShipOrder
from examples.orders.orders import (
    CancelOrder,
    GoodsSetAside,
    OrderCancelled,
    OrderCheckedOut,
    OrderStatus,
    OrderStatusChanged,
)
from examples.orders.payments import (
    PaymentDeclined,
    PaymentReceived,
    PaymentRefunded,
    PaymentStatus,
    RefundPayment,
    RequestPayment,
)

PATIENCE: Final = timedelta(minutes=30)

module = Module("fulfilment")


class PaymentDue(Timeout):
    """The order should have been paid by now."""


class Fulfilment(Saga, begins="beginning"):
    """Carries one order. A payment has the id of its order, so the id of the stream is enough to find it by."""

    customer_id: UUID | None = None
    amount: Decimal = Decimal(0)
    payment: PaymentStatus | None = None
    is_called_off: bool = False
    is_cancelled: bool = False

    @on(starts=True)
    def checked_out(self, event: OrderCheckedOut) -> None:
        self.customer_id, self.amount = event.customer_id, event.total_amount
        self.dispatch(SetGoodsAside(order_id=self.id))
        self.schedule(PaymentDue(), after=PATIENCE)

    @on
    def set_aside(self, event: GoodsSetAside) -> None:
        if self.customer_id is not None and not self.is_called_off:
            self.payment = PaymentStatus.REQUESTED
            self.dispatch(RequestPayment(payment_id=self.id, customer_id=self.customer_id, amount=self.amount))

    @on
    def paid(self, event: PaymentReceived) -> None:
        self.payment = PaymentStatus.RECEIVED
        self.cancel(PaymentDue)
        if self.is_cancelled:
            self.dispatch(RefundPayment(payment_id=self.id))
        elif not self.is_called_off:
            self.dispatch(ShipOrder(order_id=self.id))

    @on
    def shipped(self, event: OrderStatusChanged) -> None:
        if event.status is OrderStatus.SHIPPED:
            self.complete()

    # --- when something goes wrong: the order is cancelled, and what its events say is undone ---

    @on
    def too_little(self, rejection: Rejected[SetGoodsAside]) -> None:
        self._call_off(rejection.message)

    @on
    def not_paid(self, event: PaymentDeclined) -> None:
        self.payment = PaymentStatus.DECLINED
        if self.is_cancelled:
            self.complete()
        else:
            self._call_off(f"payment declined: {event.reason}")

    @on
    def overdue(self, timeout: PaymentDue) -> None:
        self._call_off("not paid in time")

    @on
    def not_shipped(self, rejection: Rejected[ShipOrder]) -> None:
        self._call_off(rejection.message)

    @on
    def not_cancelled(self, rejection: Rejected[CancelOrder]) -> None:
        """It was cancelled by somebody else, or has left: the event of that says how to go on."""

    @on
    def cancelled(self, event: OrderCancelled) -> None:
        self.is_called_off = self.is_cancelled = True
        self.cancel(PaymentDue)
        if self.payment is PaymentStatus.RECEIVED:
            self.dispatch(RefundPayment(payment_id=self.id))
        elif self.payment is not PaymentStatus.REQUESTED:  # else it is waited for what becomes of the payment
            self.complete()

    @on
    def refunded(self, event: PaymentRefunded) -> None:
        self.complete()

    def _call_off(self, reason: str) -> None:
        self.is_called_off = True
        self.dispatch(CancelOrder(order_id=self.id, reason=reason[:200]))


module.saga(Fulfilment)
