from uuid import UUID

from diptych import Command, Module


class CancelOrder(Command):
    order_id: UUID


cancelling = Module("cancelling")


@cancelling.command_handler
async def cancel_order(command: CancelOrder) -> None:
    print("cancelled", command.order_id)
