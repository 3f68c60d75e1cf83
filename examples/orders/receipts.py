"""Receipts: a customer is told when the money is there."""

import logging
from typing import Protocol

from diptych import IdempotencyKey, Metadata, Module
from examples.orders.payments import PaymentReceived

module = Module("receipts")

log = logging.getLogger(__name__)


class Mailer(Protocol):
    """Sends letters. It may be asked twice to send one, under the same key."""

    async def send(self, to: str, text: str, key: str) -> None:
        """Send it."""


class ConsoleMailer:
    """Writes to the log what a real one would send."""

    async def send(self, to: str, text: str, key: str) -> None:
        """Write it."""
        log.info("to %s: %s (%s)", to, text, key)


@module.reaction
async def send_receipt(event: PaymentReceived, meta: Metadata, key: IdempotencyKey, mailer: Mailer) -> None:
    """Tell the customer."""
    text = f"We received {event.amount:.2f} for order {meta.stream.id}. Thank you."
    await mailer.send(str(event.customer_id), text, key)
