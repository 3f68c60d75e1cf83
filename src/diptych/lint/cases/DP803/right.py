from uuid import UUID

from fastapi import FastAPI

from diptych import App, Command
from diptych.web import Commands, install

app, api = App("sqlite:///shop.db"), FastAPI()
install(app, api)


class ShipOrder(Command):
    order_id: UUID


@api.post("/orders/{order_id}/ship", status_code=204)
async def ship(order_id: UUID, commands: Commands) -> None:
    await commands.dispatch(ShipOrder(order_id=order_id))
