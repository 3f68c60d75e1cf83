from uuid import UUID

from fastapi import FastAPI

from diptych import App, Command
from diptych.web import Commands, install

app, api = App("sqlite:///shop.db"), FastAPI()
install(app, api)


class CancelOrder(Command):
    order_id: UUID
    reason: str


@api.post("/cancellations", status_code=204)
async def cancel_order(command: CancelOrder, commands: Commands) -> None:
    await commands.dispatch(command)
