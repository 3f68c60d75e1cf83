"""The servers of W8 and W9, one process of uvicorn each: `install`ed Diptych, or bare routes on the raw driver."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from hashlib import blake2b
from typing import Annotated
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel

from benchmarks import raw, shop
from benchmarks.children import parent_is_gone, say
from benchmarks.place import Place, place_of, raw_store, raw_views
from diptych import CommandBus, new_id
from diptych.web import Queries, commands_as, install


class OrderAnswer(BaseModel):
    """What a new order's client is told."""

    order_id: UUID


def nobody() -> None:
    """The user of a request: not known here."""


Commands = Annotated[CommandBus, Depends(commands_as(nobody))]


def diptych_api(place: Place) -> FastAPI:
    """Diptych as a user writes it."""
    app, api = shop.shop(place.url), FastAPI()
    install(app, api)
    api.state.ready = app.caught_up

    @api.post("/api/v1/orders", status_code=201)
    async def create_order(command: shop.CreateOrder, commands: Commands) -> OrderAnswer:
        receipt = await commands.dispatch(command)
        return OrderAnswer(order_id=receipt.result)

    @api.get("/api/v1/orders/{order_id}")
    async def get_order(order_id: UUID, queries: Queries) -> shop.OrderSummary:
        row = await queries.dispatch(shop.GetOrder(order_id=order_id))
        if row is None:
            raise HTTPException(404)
        return row

    return api


def raw_api(place: Place) -> FastAPI:
    """Bare routes: the same bodies and answers, the same events and command record, no framework but FastAPI."""

    @asynccontextmanager
    async def lifespan(api: FastAPI) -> AsyncIterator[None]:
        async with raw_store(place) as store, raw_views(place) as views:
            while await views.advance():
                pass
            api.state.store, api.state.views = store, views
            yield

    api = FastAPI(lifespan=lifespan)
    api.state.ready = None

    @api.post("/api/v1/orders", status_code=201)
    async def create_order(command: shop.CreateOrder) -> OrderAnswer:
        address = raw.RawAddress(**command.shipping_address.model_dump())
        events: list[raw.RawEvent] = [raw.RawCreated(str(command.customer_id), address)]
        events += [
            raw.RawItemAdded(str(item.product_id), item.description, item.quantity, item.unit_price)
            for item in command.items
        ]
        command_id = new_id()
        digest = blake2b(command.model_dump_json().encode(), digest_size=16).digest()
        remembered = raw.RawCommand(command_id.bytes, digest, f'"{command.order_id}"')
        encoded = [raw.encode(event) for event in events]
        store: raw.RawStore = api.state.store
        await store.append(store.key(command.order_id), 0, encoded, raw.metadata_of(command_id), remembered)
        return OrderAnswer(order_id=command.order_id)

    @api.get("/api/v1/orders/{order_id}")
    async def get_order(order_id: UUID) -> shop.OrderSummary:
        views: raw.RawViews = api.state.views
        found = await views.row(order_id)
        if found is None:
            raise HTTPException(404)
        customer_id, status, pence, items, created_at = found
        return shop.OrderSummary(
            id=order_id,
            customer_id=UUID(customer_id),
            status=shop.OrderStatus(status),
            total_amount=Decimal(pence) / 100,
            item_count=items,
            created_at=raw.time_of(created_at),
        )

    return api


async def main(side: str, place: Place) -> None:
    """Serve until the parent is gone."""
    api = {"diptych": diptych_api, "raw": raw_api}[side](place)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        server = uvicorn.Server(uvicorn.Config(api, log_level="warning", access_log=False, lifespan="on"))
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listening]))
            while not server.started:  # noqa: ASYNC110 - uvicorn tells it in no other way
                await asyncio.sleep(0.01)
            if api.state.ready is not None:
                await api.state.ready(timeout=60)
            say("ready")
            say(listening.getsockname()[1])
            await parent_is_gone()
            server.should_exit = True


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], place_of(sys.argv[2])))
