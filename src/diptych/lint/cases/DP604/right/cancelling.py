"""Cancelling, in a file of its own."""

from uuid import UUID

from diptych import Command
from service import app


class CancelOrder(Command):
    order_id: UUID


@app.command_handler
async def cancel_order(command: CancelOrder) -> None:
    print(f"{command.order_id} is off")
