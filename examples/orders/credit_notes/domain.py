"""A credit note: money given back to a customer. It moves no goods and names no order, as in the imported file."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Self
from uuid import UUID

from pydantic import AwareDatetime

from diptych import Aggregate, DomainEvent
from examples.orders.orders.domain import OrderItem


class CreditNoteIssued(DomainEvent):
    """A customer gets money back; the lines follow."""

    customer_id: UUID
    issued_at: AwareDatetime


class CreditNoteLineAdded(DomainEvent):
    """So much is given back for so many of a product."""

    line: int
    product_id: UUID
    quantity: int
    unit_price: Decimal
    customer_id: UUID
    issued_on: date

    @property
    def amount(self) -> Decimal:
        """What is given back for the line."""
        return self.quantity * self.unit_price


class CreditNote(Aggregate):
    """Money given back; never changed once issued."""

    @classmethod
    def issue(cls, credit_note_id: UUID, customer_id: UUID, items: Sequence[OrderItem], at: datetime) -> Self:
        """Give money back for these items."""
        note = cls(credit_note_id)
        note.record(CreditNoteIssued(customer_id=customer_id, issued_at=at))
        day = at.astimezone(UTC).date()
        for line, item in enumerate(items, 1):
            note.record(CreditNoteLineAdded(line=line, customer_id=customer_id, issued_on=day, **dict(item)))
        return note
