"""The tallies behind FastAPI."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
from fastapi import APIRouter, FastAPI

from diptych import App, new_id
from diptych.web import Commands, Queries, WebSettings, install
from tests.telemetry.listening import somebody_else
from tests.telemetry.tallies import GetTally, Meanwhile, Raise, TallyRow

USUAL = WebSettings()


def make_api(app: App, settings: WebSettings = USUAL, **options: Any) -> FastAPI:
    api = FastAPI(**options)
    install(app, api, settings=settings)
    router = APIRouter(prefix="/tallies")

    @router.post("")
    async def raise_tally(command: Raise, commands: Commands) -> int:
        return (await commands.dispatch(command)).result

    @router.get("/{tally_id}")
    async def read_tally(tally_id: UUID, queries: Queries) -> TallyRow:
        return await queries.dispatch(GetTally(tally_id=tally_id))

    api.include_router(router, prefix="/v1")
    return api


@asynccontextmanager
async def client_of(api: Any, served: FastAPI | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose lifespan runs; `served` is the FastAPI one, if `api` is wrapped around it."""
    inner = served or api
    async with inner.router.lifespan_context(inner):
        transport = httpx.ASGITransport(api, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://tallies") as client:
            yield client


async def traffic(app: App, client: httpx.AsyncClient, meanwhile: Meanwhile) -> None:
    """A little of everything that is counted."""
    command = Raise(tally_id=new_id())
    meanwhile.happens = somebody_else(app, command)
    await app.commands.dispatch(command)
    await client.get(f"/v1/tallies/{command.tally_id}")
    app.observer.lease_changed("tallies", 0, "lost")
    await app.caught_up()
