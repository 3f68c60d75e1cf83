"""Payments: asked for, received or declined, given back. `charging.py` has a provider do it.

A provider may say the same twice, or long after we stopped listening: what a payment knows already changes nothing.
"""

from decimal import Decimal
from enum import Enum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from diptych import (
    Aggregate,
    Command,
    DomainError,
    DomainEvent,
    Module,
    Repository,
    on,
)
from examples.orders.caller import Route
from examples.orders.values import RequiredText

module, router = Module("payments"), APIRouter(prefix="/payments", tags=["payment"], route_class=Route)


class PaymentRequested(DomainEvent):
    """A customer owes so much for an order."""

    customer_id: UUID
    amount: Decimal


class PaymentReceived(DomainEvent):
    """The provider has the money; `reference` is its name for it."""

    customer_id: UUID
    amount: Decimal
    reference: str


class PaymentDeclined(DomainEvent):
    """The provider will not take the money."""

    reason: str


class RefundRequested(DomainEvent):
    """The customer gets the money back."""

    reference: str


class PaymentRefunded(DomainEvent):
    """The customer has the money back."""


class PaymentStatus(Enum):
    """How far a payment is."""

    REQUESTED = "requested"
    RECEIVED = "received"
    DECLINED = "declined"
    REFUNDING = "refunding"
    REFUNDED = "refunded"


class NotPaidError(DomainError):
    """There is no money to give back."""


class Payment(Aggregate):
    """What is to be paid for an order, and what became of it. Its id is the order's."""

    status: PaymentStatus | None = None
    customer_id: UUID
    amount: Decimal
    reference: str = ""

    def request(self, customer_id: UUID, amount: Decimal) -> None:
        """Ask for the money, once."""
        if self.status is None:
            self.record(PaymentRequested(customer_id=customer_id, amount=amount))

    def receive(self, reference: str) -> None:
        """Note that the money is there. If it had been declined, nobody waits for it: it goes back at once."""
        if self.reference:
            return
        was_declined = self.status is PaymentStatus.DECLINED
        self.record(PaymentReceived(customer_id=self.customer_id, amount=self.amount, reference=reference))
        if was_declined:
            self.refund()

    def decline(self, reason: str) -> None:
        """Note that no money will come."""
        if self.status is PaymentStatus.REQUESTED:
            self.record(PaymentDeclined(reason=reason))

    def refund(self) -> None:
        """Give the money back, once."""
        if not self.reference:
            raise NotPaidError(f"Payment {self.id} was not received. There is nothing to give back.")
        if self.status is PaymentStatus.RECEIVED:
            self.record(RefundRequested(reference=self.reference))

    def refunded(self) -> None:
        """Note that the customer has the money back."""
        if self.status is PaymentStatus.REFUNDING:
            self.record(PaymentRefunded())

    @on
    def _requested(self, event: PaymentRequested) -> None:
        self.status, self.customer_id, self.amount = PaymentStatus.REQUESTED, event.customer_id, event.amount

    @on
    def _received(self, event: PaymentReceived) -> None:
        self.status, self.reference = PaymentStatus.RECEIVED, event.reference

    @on
    def _declined(self, event: PaymentDeclined) -> None:
        self.status = PaymentStatus.DECLINED

    @on
    def _refunding(self, event: RefundRequested) -> None:
        self.status = PaymentStatus.REFUNDING

    @on
    def _refunded(self, event: PaymentRefunded) -> None:
        self.status = PaymentStatus.REFUNDED


class RequestPayment(Command):
    """Ask for what an order comes to."""

    payment_id: UUID
    customer_id: UUID
    amount: Annotated[Decimal, Field(gt=0)]


@router.post("/{payment_id}/received")
class RecordPayment(Command):
    """The provider has the money. Open to the provider alone, behind your proxy."""

    payment_id: UUID
    reference: RequiredText


class DeclinePayment(Command):
    """The provider will not take the money."""

    payment_id: UUID
    reason: RequiredText


class RefundPayment(Command):
    """Give the money back."""

    payment_id: UUID


class RecordRefund(Command):
    """The provider has given the money back."""

    payment_id: UUID


@module.command_handler
async def request(command: RequestPayment, payments: Repository[Payment]) -> None:
    (await payments.get_or_new(command.payment_id)).request(command.customer_id, command.amount)


@module.command_handler
async def receive(command: RecordPayment, payments: Repository[Payment]) -> None:
    (await payments.get(command.payment_id)).receive(command.reference)


@module.command_handler
async def decline(command: DeclinePayment, payments: Repository[Payment]) -> None:
    (await payments.get(command.payment_id)).decline(command.reason)


@module.command_handler
async def refund(command: RefundPayment, payments: Repository[Payment]) -> None:
    (await payments.get(command.payment_id)).refund()


@module.command_handler
async def record_refund(command: RecordRefund, payments: Repository[Payment]) -> None:
    (await payments.get(command.payment_id)).refunded()
