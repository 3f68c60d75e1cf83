import asyncio
from uuid import UUID

import httpx
from fastapi import FastAPI

from diptych import App, Command
from diptych.web import Commands, install

app, api = App("sqlite:///shop.db"), FastAPI()
install(app, api)


class PlaceOrder(Command):
    order_id: UUID
    email: str


async def confirm(email: str) -> None:
    async with httpx.AsyncClient() as client:
        await client.post("https://mail.example.com/send", json={"to": email})


@api.post("/orders", status_code=204)
async def place_order(command: PlaceOrder, commands: Commands) -> None:
    await commands.dispatch(command)
    asyncio.create_task(confirm(command.email))
