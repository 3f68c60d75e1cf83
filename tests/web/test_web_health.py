"""/health: computed at each call, red with the reason and the event named."""

from pathlib import Path

import anyio
import httpx
import pytest
from fastapi import FastAPI

from diptych.app.application import App
from diptych.app.tuning import Tuning
from diptych.clock import new_id
from diptych.errors import StoreUnavailableError
from diptych.handlers import on
from diptych.messages import Metadata
from diptych.projections.projection import Projection
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY, StreamName
from diptych.web import WebSettings, install
from tests.web.shop import AccountOpened, AccountRow, Accounts, client_of, make_api, make_app, tried

pytestmark = pytest.mark.anyio


async def test_a_healthy_service_is_alive_and_ready(client: httpx.AsyncClient, account: str, app: App) -> None:
    await app.caught_up()
    live, ready = await client.get("/health/live"), await client.get("/health/ready")
    assert (live.status_code, ready.status_code) == (200, 200)
    assert ready.json()["head"] == 2
    assert ready.json()["projections"][0]["lag_events"] == 0


async def test_a_failed_projection_is_named_with_its_event(client: httpx.AsyncClient, account: str, app: App) -> None:
    """P7: the position and the type of the event that it failed on."""
    await client.post(f"{account}/moves", json={"amount": 1, "note": "poison"})
    await tried(app, 3)
    ready = await client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.headers["content-type"] == "application/problem+json"
    assert ready.headers["Retry-After"] == "5"
    assert "MoneyMoved" in ready.json()["detail"]
    assert "3" in ready.json()["reasons"][0]
    assert (await client.get("/health/live")).status_code == 200


async def test_a_projection_behind_its_limit_is_red_and_green_again_by_itself(app: App) -> None:
    app.project(Accounts, lag_limit=0.05)
    async with client_of(make_api(app)) as client:
        path = (await client.post("/accounts", json={"owner": "Ada"})).headers["Location"]
        await client.post(f"{path}/moves", json={"amount": 1, "note": "slow"})
        with anyio.fail_after(5):
            while (red := await client.get("/health/ready")).status_code == 200:
                pass
        assert "s behind (limit 0.05 s)" in red.json()["detail"]
        await app.caught_up()
        green = await client.get("/health/ready")
        assert (green.status_code, green.json()["projections"][0]["lag_limit"]) == (200, 0.05)


@pytest.mark.parametrize(("own", "limit"), [(None, 7.0), (60.0, 60.0)])
async def test_a_projection_without_a_limit_of_its_own_has_the_apps(own: float | None, limit: float) -> None:
    app = make_app(tuning=Tuning(lag_limit=7.0))
    app.project(Accounts, lag_limit=own)
    async with client_of(make_api(app)) as client:
        (shown,) = (await client.get("/health/ready")).json()["projections"]
    assert shown["lag_limit"] == limit


async def test_a_projection_whose_loop_hangs_is_red(
    client: httpx.AsyncClient, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: a dead loop looks like a quiet one but for its heartbeat."""
    await app.caught_up()
    for progress in app.progress.values():
        monkeypatch.setattr(progress, "beat", lambda: None)
        monkeypatch.setattr(progress, "heartbeat", -1e9)
    assert "hangs" in (await client.get("/health/ready")).json()["detail"]


@pytest.mark.parametrize(("limit", "answer"), [(60.0, 200), (1e-6, 503)])
async def test_frozen_rows_are_served_until_they_are_too_old(tmp_path: Path, limit: float, answer: int) -> None:
    """Nobody has to wake up for what was chosen with `on_change`; an alert says it all the same."""

    class Accounts(Projection[AccountRow], version=2):
        @on
        def opened(self, event: AccountOpened, meta: Metadata) -> AccountRow:
            return AccountRow(id=meta.stream.id, owner=event.owner.upper(), balance=0, version=1)

    url = f"sqlite:///{tmp_path}/shop.db"
    async with make_app(url) as old:
        await old.caught_up()
    app, api = App(url, on_change="freeze", tuning=Tuning(lag_limit=limit)), FastAPI()
    app.project(Accounts)
    install(app, api)
    async with client_of(api) as client:
        event = app.codec.encode(AccountOpened(owner="Ada"))
        await app.events.append(Append([StreamWrite(StreamName("", "Account", new_id()), ANY, [event])]))
        ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()["projections"][0]["state"]) == (answer, "frozen")


async def test_a_store_that_cannot_be_read_is_red(
    client: httpx.AsyncClient, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise StoreUnavailableError("shop.db is locked by another program")

    monkeypatch.setattr(app.events, "head", fail)
    ready = await client.get("/health/ready")
    assert ready.status_code == 503
    assert "locked" in ready.json()["detail"]


async def test_an_app_that_is_not_running_is_alive_and_not_ready() -> None:
    transport = httpx.ASGITransport(make_api(make_app()))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get("/health/live")).status_code == 200


async def test_health_can_be_had_elsewhere(app: App) -> None:
    api: FastAPI = make_api(app, WebSettings(health_path="/internal/health"))
    async with client_of(api) as client:
        assert (await client.get("/internal/health/ready")).status_code == 200
        assert (await client.get("/health/ready")).status_code == 404
