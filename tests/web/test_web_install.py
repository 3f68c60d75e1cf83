"""`install`: once, around the application's own lifespan; and a sentence for each way to forget it."""

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from diptych.app.application import App
from diptych.clock import new_id
from diptych.errors import ConfigurationError, NoHandlerFoundError, StoreCorruptedError
from diptych.messages import Command, Query, Receipt
from diptych.read.bus import QueryBus
from diptych.web import commands_as, install
from diptych.web.dependencies import queries
from diptych.write.bus import CommandBus
from tests.web.shop import (
    AccountOpened,
    Commands,
    GetAccount,
    OpenAccount,
    add_routes,
    client_of,
    current_user,
    make_api,
    make_app,
)

pytestmark = pytest.mark.anyio

SHOP = "http://shop"


def test_client(api: FastAPI) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its move from httpx to httpx2
        from fastapi.testclient import TestClient
    return TestClient(api)


test_client.__test__ = False  # type: ignore[attr-defined]


def test_the_test_client_works_as_a_context_manager(api: FastAPI) -> None:
    for _ in range(2):
        with test_client(api) as client:
            opened = client.post("/accounts", json={"owner": "Ada"})
            after = {"Diptych-After": opened.headers["Diptych-Position"]}
            assert client.get(opened.headers["Location"], headers=after).json()["owner"] == "Ada"


def test_a_test_that_is_not_async_waits_for_reactions_through_the_client(app: App, api: FastAPI) -> None:
    told: list[str] = []

    @app.reaction
    async def welcome(event: AccountOpened) -> None:
        told.append(event.owner)

    with test_client(api) as client:
        client.post("/accounts", json={"owner": "Ada"})
        client.portal.call(app.settled)
        assert told == ["Ada"]


def test_the_test_client_without_with_gets_a_sentence(api: FastAPI) -> None:
    with pytest.raises(ConfigurationError, match="with TestClient"):
        test_client(api).post("/accounts", json={"owner": "Ada"})


async def test_a_server_without_lifespan_gets_a_sentence(api: FastAPI) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url=SHOP) as client:
        with pytest.raises(ConfigurationError, match="lifespan"):
            await client.get("/accounts", params={"owner": "Ada"})


async def test_a_forgotten_install_gets_a_sentence() -> None:
    api = FastAPI()
    add_routes(api)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url=SHOP) as client:
        with pytest.raises(ConfigurationError, match="install was forgotten"):
            await client.post("/accounts", json={"owner": "Ada"})
        with pytest.raises(ConfigurationError, match="install was forgotten"):
            await client.get("/accounts", params={"owner": "Ada"})


async def test_a_mounted_application_whose_lifespan_never_runs_gets_a_sentence(api: FastAPI) -> None:
    outer = FastAPI()
    outer.mount("/shop", api)
    transport = httpx.ASGITransport(outer)
    async with outer.router.lifespan_context(outer), httpx.AsyncClient(transport=transport, base_url=SHOP) as client:
        with pytest.raises(ConfigurationError, match="mounted at /shop"):
            await client.post("/shop/accounts", json={"owner": "Ada"})


async def test_development_shows_the_sentence_and_production_does_not(api: FastAPI, app: App) -> None:
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=SHOP) as client:
        for mode, is_told in (("development", True), ("production", False)):
            app.mode = mode  # type: ignore[assignment]
            answer = await client.post("/accounts", json={"owner": "Ada"})
            assert answer.status_code == 500
            assert ("lifespan" in answer.json()["detail"]) is is_told


async def test_a_mounted_application_works_when_the_outer_one_is_installed(app: App) -> None:
    outer, inner = FastAPI(), FastAPI()
    install(app, outer)
    add_routes(inner)
    outer.mount("/shop", inner)
    async with client_of(outer) as client:
        opened = await client.post("/shop/accounts", json={"owner": "Ada"})
        assert opened.headers["Location"].startswith("/shop/accounts/")
        after = {"Diptych-After": opened.headers["Diptych-Position"]}
        assert (await client.get(opened.headers["Location"], headers=after)).status_code == 200


async def test_a_mounted_application_answers_errors_as_the_outer_one_does(app: App) -> None:
    """Once an error leaves a mounted application, it has been answered."""
    outer, middle, inner = FastAPI(), FastAPI(), FastAPI()
    install(app, outer)
    add_routes(inner)
    middle.mount("/inner", inner)
    outer.mount("/middle", middle)
    for _ in range(2):
        async with client_of(outer) as client:
            account = (await client.post("/middle/inner/accounts", json={"owner": "Ada"})).headers["Location"]
            moves = f"{account}/moves"
            late = await client.post(moves, json={"amount": 1}, headers={"If-Match": '"7"'})
            answers = [await client.post(moves, json=body) for body in ({"amount": -5}, {})]
            assert [one.status_code for one in (*answers, late)] == [400, 422, 412]
            for answer in (*answers, late, await client.get("/middle/x")):
                assert answer.headers["content-type"] == "application/problem+json"
            parameters = inner.openapi()["paths"]["/accounts"]["post"]["parameters"]
            assert [one["name"] for one in parameters].count("Idempotency-Key") == 1


async def test_a_mounted_route_whose_command_nobody_handles_stops_the_start() -> None:
    outer, inner = FastAPI(), FastAPI()
    install(App("memory:"), outer)
    outer.mount("/shop", inner)

    @inner.post("/open")
    async def open_one(command: OpenAccount, commands: Commands) -> None:
        await commands.dispatch(command)

    with pytest.raises(ConfigurationError, match="OpenAccount has no handler"):
        async with outer.router.lifespan_context(outer):
            pass


async def test_an_application_behind_a_path_is_not_taken_for_a_mounted_one(api: FastAPI) -> None:
    transport = httpx.ASGITransport(api, root_path="/shop")
    async with httpx.AsyncClient(transport=transport, base_url=SHOP) as client:
        with pytest.raises(ConfigurationError, match="nobody ran the lifespan"):
            await client.get("/accounts", params={"owner": "Ada"})


@pytest.mark.parametrize("is_raised_before", [True, False])
async def test_a_lifespan_that_fails_leaves_no_app_running(app: App, is_raised_before: bool) -> None:
    @asynccontextmanager
    async def own(_: FastAPI) -> AsyncIterator[None]:
        if is_raised_before:
            raise ZeroDivisionError
        yield
        raise ZeroDivisionError

    api = make_api(app, lifespan=own)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            async with client_of(api):
                assert app.is_running
        assert not app.is_running


async def test_a_store_that_does_not_open_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_bytes(b"no database" * 1000)
    app = make_app(f"sqlite:///{tmp_path}/shop.db")
    with pytest.raises(StoreCorruptedError, match="not a database"):
        async with client_of(make_api(app)):
            pass
    assert not app.is_running


def test_a_second_install_is_refused(app: App, api: FastAPI) -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        install(app, api)


def test_the_two_of_an_install_are_told_apart(app: App) -> None:
    swapped: Any = (FastAPI(), app)
    with pytest.raises(ConfigurationError, match="in this order, not FastAPI and App"):
        install(*swapped)


async def test_an_install_after_the_first_request_is_refused(app: App) -> None:
    api = FastAPI()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url=SHOP) as client:
        await client.get("/")
    with pytest.raises(ConfigurationError, match="first request"):
        install(app, api)


async def test_the_application_s_own_lifespan_runs_inside_and_keeps_its_state(app: App) -> None:
    seen: list[bool] = []

    @asynccontextmanager
    async def own(_: FastAPI) -> AsyncIterator[dict[str, int]]:
        await app.commands.dispatch(OpenAccount(owner="Ada"))
        yield {"answer": 42}
        seen.append(app.is_running)

    api = make_api(app, lifespan=own)
    async with api.router.lifespan_context(api) as state:
        assert state == {"answer": 42}
        assert (await app.events.head()).position == 1
    assert seen == [True]
    assert not app.is_running


async def test_the_app_s_own_lifespan_beside_install_is_harmless(app: App) -> None:
    api = make_api(app, lifespan=app.lifespan)
    async with client_of(api) as client:
        assert (await client.post("/accounts", json={"owner": "Ada"})).status_code == 201
    assert not app.is_running


async def test_a_route_whose_command_nobody_handles_stops_the_start(app: App) -> None:
    class Forgotten(Command):
        account_id: UUID

    api = make_api(app)

    @api.post("/forgotten")
    async def forgotten(command: Forgotten, commands: Commands) -> None:
        await commands.dispatch(command)

    with pytest.raises(ConfigurationError, match=r"test_web_install.py:\d+ .*forgotten.*Forgotten has no handler"):
        async with api.router.lifespan_context(api):
            pass


async def test_dependencies_can_be_overridden(app: App, api: FastAPI) -> None:
    class Spy(CommandBus):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        async def dispatch(self, command: Command[Any], **_: Any) -> Receipt[Any]:
            self.seen.append(command)
            raise NoHandlerFoundError("Spied")

    class Canned(QueryBus):
        def __init__(self) -> None:
            """It has no routes and no handlers."""

        async def dispatch(self, query: Query[Any], **_: Any) -> Any:
            return None if isinstance(query, GetAccount) else []

    spy = Spy()
    api.dependency_overrides[current_user] = lambda: "eve"
    async with client_of(api) as client:
        await client.post("/accounts", json={"owner": "Ada"})
        row = (await app.events.read_log(after=0)).events[0]
        assert app.codec.recorded(row).metadata.user_id == "eve"
        api.dependency_overrides[commands_as(current_user)] = lambda: spy
        assert (await client.post("/accounts", json={"owner": "Ada"})).status_code == 500
        assert [type(command) for command in spy.seen] == [OpenAccount]
        api.dependency_overrides[queries] = Canned
        assert (await client.get("/accounts", params={"owner": "Ada"})).json() == []
        assert (await client.get(f"/accounts/{new_id()}")).json()["detail"] == "There is no such account."


async def test_a_user_that_is_no_id_gets_a_sentence(app: App) -> None:
    async def user() -> dict[str, str]:
        return {"name": "Ada"}

    api = make_api(app)
    api.dependency_overrides[current_user] = user
    transport = httpx.ASGITransport(api)
    async with api.router.lifespan_context(api), httpx.AsyncClient(transport=transport, base_url=SHOP) as client:
        with pytest.raises(ConfigurationError, match="returned a dict"):
            await client.post("/accounts", json={"owner": "Ada"})


async def test_the_commit_is_done_when_the_answer_arrives(client: httpx.AsyncClient, app: App) -> None:
    """L1"""
    opened = await client.post("/accounts", json={"owner": "Ada"})
    assert opened.status_code == 201
    assert (await app.events.head()).position == 1
