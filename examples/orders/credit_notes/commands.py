"""What can be asked of credit notes, in code and over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import AwareDatetime, Field

from diptych import Command, Module, Repository, new_id
from examples.orders.caller import Commands
from examples.orders.credit_notes.domain import CreditNote
from examples.orders.customers.domain import Customer
from examples.orders.inventory.domain import Stock
from examples.orders.orders.domain import OrderItem
from examples.orders.values import business_time

module, router = Module("credit_notes"), APIRouter(tags=["credit notes"])


class IssueCreditNote(Command[UUID]):
    """Give money back. Returns the note's id, which the caller may choose."""

    credit_note_id: UUID = Field(default_factory=new_id)
    customer_id: UUID
    items: Annotated[list[OrderItem], Field(min_length=1, max_length=900)]
    issued_at: AwareDatetime | None = None


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


@router.post("/credit-notes", status_code=201)
async def issue_credit_note(command: IssueCreditNote, commands: Commands) -> dict[str, UUID]:
    """Give money back."""
    receipt = await commands.dispatch(command)
    return {"credit_note_id": receipt.result}
