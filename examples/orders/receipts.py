"""Receipts: a customer is told when the money is there."""

from typing import Protocol

from diptych import IdempotencyKey, Metadata, Module
from examples.orders.payments import PaymentReceived

module = Module("receipts")


class Mailer(Protocol):
    """Sends letters. It may be asked twice to send one, under the same key."""

    async def send(self, to: str, text: str, key: str) -> None:
        """Send it."""


class ConsoleMailer:
    """Prints what a real one would send."""

    async def send(self, to: str, text: str, key: str) -> None:
        """Print it."""
        print(f"to {to}: {text} ({key})", flush=True)


@module.reaction
async def send_receipt(event: PaymentReceived, meta: Metadata, key: IdempotencyKey, mailer: Mailer) -> None:
    """Tell the customer."""
    text = f"We received {event.amount:.2f} for order {meta.stream.id}. Thank you."
    await mailer.send(str(event.customer_id), text, key)
