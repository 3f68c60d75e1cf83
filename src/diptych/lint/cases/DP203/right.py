from typing import Annotated
from uuid import UUID

import httpx
from fastapi import FastAPI

from diptych import App, Command, DomainEvent, Key, Metadata, Projection, ReadModel, on
from diptych.web import Commands, install

app, api = App("sqlite:///shop.db"), FastAPI()
install(app, api)


class OrderPlaced(DomainEvent):
    cents: int


class PlaceOrder(Command):
    email: str
    cents: int


class OrderSummary(ReadModel):
    id: Annotated[UUID, Key]
    cents: int


class OrderSummaries(Projection[OrderSummary]):
    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderSummary:
        return OrderSummary(id=meta.stream.id, cents=event.cents)


@api.post("/orders", status_code=204)
async def place_order(command: PlaceOrder, commands: Commands) -> None:
    receipt = await commands.dispatch(command)
    async with httpx.AsyncClient() as client:
        text = f"We have your order of {command.cents / 100:.2f} EUR"
        mail = {"to": command.email, "text": text, "key": str(receipt.command_id)}
        await client.post("https://mail.example.com/send", json=mail)
