"""Money given back to customers. A credit note moves no goods and names no order, as in the imported file."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter
from pydantic import AwareDatetime, Field

from diptych import Aggregate, Command, DomainEvent, Module, Repository, new_id
from examples.orders.caller import Commands
from examples.orders.customers import Customer
from examples.orders.inventory import Stock
from examples.orders.orders import Line
from examples.orders.values import OrderItem, business_time

module, router = Module("credit_notes"), APIRouter(prefix="/credit-notes", tags=["credit notes"])


class CreditNoteIssued(DomainEvent, inert=True):
    """A customer gets money back; the lines follow."""

    customer_id: UUID
    issued_at: AwareDatetime


class CreditNoteLineAdded(Line):
    """So much is given back for so many of a product."""

    issued_on: date


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


class IssueCreditNote(Command[UUID]):
    """Give money back. Returns the note's id, which the caller may choose."""

    credit_note_id: UUID = Field(default_factory=new_id)
    customer_id: UUID
    items: Annotated[list[OrderItem], Field(min_length=1, max_length=900)]
    issued_at: AwareDatetime | None = None


@router.post("", status_code=201)
async def issue_credit_note(command: IssueCreditNote, commands: Commands) -> dict[str, UUID]:
    """Give money back."""
    receipt = await commands.dispatch(command)
    return {"credit_note_id": receipt.result}


@module.command_handler
async def issue(
    command: IssueCreditNote, notes: Repository[CreditNote], customers: Repository[Customer], stock: Repository[Stock]
) -> UUID:
    issued_at = business_time(command.issued_at, command.timestamp)
    await customers.get(command.customer_id)
    for product_id in sorted({item.product_id for item in command.items}):
        await stock.get(product_id)
    notes.add(CreditNote.issue(command.credit_note_id, command.customer_id, command.items, issued_at))
    return command.credit_note_id
