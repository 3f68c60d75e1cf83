"""`routes_as`: a command or a query takes the place of a route's function."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Header

from diptych.app.application import App
from diptych.errors import ConfigurationError
from diptych.messages import Command, Query, Receipt
from diptych.read.read_models import ReadModels
from diptych.web import install, routes_as
from tests.web.shop import AccountRow, Close, FindAccounts, GetAccount, Move, OpenAccount, client_of, module

pytestmark = pytest.mark.anyio

NOBODY = "/accounts/01900000-0000-7000-8000-000000000000"


class CountMoves(Query[int]):
    """How many accounts of an owner have so much on them."""

    owner: str
    least: int = 0


def who_asks(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


def make_api(app: App) -> FastAPI:
    """The accounts again, without a function for any route."""
    api, router = FastAPI(), APIRouter(prefix="/accounts", route_class=routes_as(who_asks))
    router.post("", status_code=201)(OpenAccount)
    router.post("/{account_id}/moves")(Move)
    router.post("/{account_id}/close")(Close)
    router.get("/{account_id}")(GetAccount)
    router.get("")(FindAccounts)
    router.get("/of/{owner}/count")(CountMoves)
    install(app, api)
    outer = APIRouter(prefix="/v1")
    outer.include_router(router)
    api.include_router(outer)
    return api


@pytest.fixture
def senders() -> list[str | None]:
    return []


@pytest.fixture
def app(senders: list[str | None]) -> App:
    app = App("memory:", mode="development")
    app.include(module)

    @app.query_handler
    async def count(query: CountMoves, read: ReadModels) -> int:
        return await read.count(AccountRow, owner=query.owner, balance__ge=query.least)

    def note(following: Any) -> Any:
        async def dispatch(command: Command[Any]) -> Receipt[Any]:
            senders.append(command.user_id)
            receipt: Receipt[Any] = await following(command)
            return receipt

        return dispatch

    app.middleware(note)
    return app


@pytest.fixture
def api(app: App) -> FastAPI:
    return make_api(app)


@pytest.fixture
async def client(api: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(api) as client:
        client.base_url = httpx.URL(f"{client.base_url}/v1")
        yield client


async def opened(client: httpx.AsyncClient, owner: str = "Ada", **headers: str) -> str:
    answer = await client.post("/accounts", json={"owner": owner}, headers=headers)
    assert answer.status_code == 201, answer.text
    return f"/accounts/{UUID(answer.json())}"


async def test_a_command_is_answered_with_its_result_or_with_204(client: httpx.AsyncClient) -> None:
    account = await opened(client)
    moved = await client.post(f"{account}/moves", json={"amount": 5})
    assert (moved.status_code, moved.json()) == (200, 5)
    assert moved.headers["etag"] == '"2"'
    closed = await client.post(f"{account}/close")
    assert (closed.status_code, closed.content) == (204, b"")


async def test_the_path_gives_its_fields_and_the_body_the_others(client: httpx.AsyncClient) -> None:
    account = await opened(client)
    twice = await client.post(f"{account}/moves", json={"amount": 5, "account_id": account.split("/")[2]})
    assert twice.status_code == 422
    more = await client.post(f"{account}/close", json={"reason": "none"})
    assert more.status_code == 422
    bad = await client.post("/accounts/7/moves", json={"amount": 5})
    assert bad.json()["errors"][0]["in"] == "path"


async def test_a_query_is_answered_and_none_is_not_found(client: httpx.AsyncClient) -> None:
    account = await opened(client)
    moved = await client.post(f"{account}/moves", json={"amount": 5})
    after = {"Diptych-After": moved.headers["diptych-position"]}
    found = await client.get(account, headers=after)
    assert (found.status_code, found.json()["balance"]) == (200, 5)
    assert "diptych-age" in found.headers
    missing = await client.get(NOBODY)
    assert (missing.status_code, missing.json()["detail"]) == (404, "GetAccount found nothing.")
    listed = await client.get("/accounts", params={"owner": "Ada"}, headers=after)
    assert [row["balance"] for row in listed.json()] == [5]


async def test_the_path_gives_its_fields_and_the_query_string_the_others(client: httpx.AsyncClient) -> None:
    await opened(client)
    moved = await client.post(f"{await opened(client)}/moves", json={"amount": 5})
    after = {"Diptych-After": moved.headers["diptych-position"]}
    for params, count in (({}, 2), ({"least": "5"}, 1)):
        assert (await client.get("/accounts/of/Ada/count", params=params, headers=after)).json() == count
    for wrong in ({"least": "many"}, {"owner": "Eve"}, {"most": "5"}):
        refused = await client.get("/accounts/of/Ada/count", params=wrong)
        assert (refused.status_code, refused.json()["errors"][0]["in"]) == (422, "query"), wrong
        assert refused.json()["errors"][0]["name"] == next(iter(wrong))


async def test_the_user_comes_from_the_dependency(client: httpx.AsyncClient, senders: list[str | None]) -> None:
    """I4"""
    await opened(client)
    await opened(client, **{"X-User": "ada"})
    assert senders == [None, "ada"]


async def test_the_dependency_may_be_overridden(
    api: FastAPI, client: httpx.AsyncClient, senders: list[str | None]
) -> None:
    api.dependency_overrides[who_asks] = lambda: "eve"
    await opened(client, **{"X-User": "ada"})
    assert senders == ["eve"]


def test_the_document_is_as_if_functions_had_been_written(api: FastAPI) -> None:
    paths = api.openapi()["paths"]
    close, count = paths["/v1/accounts/{account_id}/close"]["post"], paths["/v1/accounts/of/{owner}/count"]["get"]
    assert list(close["responses"])[:1] == ["204"]
    assert "requestBody" not in close
    assert "409" in close["responses"]
    assert "Idempotency-Key" in {one["name"] for one in close["parameters"]}
    assert count["summary"] == "Count Moves"
    assert count["description"] == "How many accounts of an owner have so much on them."
    placed = {one["name"]: (one["in"], one["required"]) for one in count["parameters"]}
    assert placed["owner"] == ("path", True)
    assert placed["least"] == ("query", False)
    one = paths["/v1/accounts/{account_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert one == {"$ref": "#/components/schemas/AccountRow"}
    moves = paths["/v1/accounts/{account_id}/moves"]["post"]
    assert moves["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/MoveBody"}


async def test_a_decorated_message_is_the_class_it_was_and_a_function_beside_it_a_route(app: App) -> None:
    api, router = FastAPI(), APIRouter(route_class=routes_as())

    @router.get("/rich")
    class Rich(Query[list[AccountRow]]):
        least: int = 1

    @app.query_handler
    async def rich(query: Rich, read: ReadModels) -> list[AccountRow]:
        return await read.find(AccountRow, balance__ge=query.least)

    @router.get("/plain")
    async def plain() -> str:
        return "a function"

    install(app, api)
    api.include_router(router)
    async with client_of(api) as client:
        assert (await client.get("/rich", params={"least": 3})).json() == []
        assert (await client.get("/plain")).json() == "a function"
        assert await app.queries.dispatch(Rich(least=2)) == []


@pytest.mark.parametrize("path", ["/nothing", "/nothing/{what}"])
async def test_a_message_without_a_handler_is_named_where_it_was_written(app: App, path: str) -> None:
    api, router = FastAPI(), APIRouter(route_class=routes_as())
    install(app, api)

    @router.post(path)
    class Forgotten(Command):
        what: str

    @router.get(path)
    class Unanswered(Query[str]):
        what: str

    api.include_router(router)
    with pytest.raises(ConfigurationError, match=rf"{__file__}:\d+ .*Forgotten: Forgotten has no handler") as caught:
        async with client_of(api):
            pass
    assert f"{Unanswered.__qualname__}: Unanswered has no handler" in str(caught.value)


async def test_a_field_in_the_prefix_of_an_inclusion_is_a_fault_at_the_start(app: App) -> None:
    """I4: the path would say which account, and the body which account is moved."""
    api, router = FastAPI(), APIRouter(route_class=routes_as())
    install(app, api)
    router.post("/moves")(Move)
    api.include_router(router, prefix="/accounts/{account_id}")
    with pytest.raises(ConfigurationError, match=r"Move would take account_id from elsewhere.*APIRouter\(prefix="):
        async with client_of(api):
            pass


async def test_a_field_in_the_prefix_of_the_router_is_seen(app: App) -> None:
    api, router = FastAPI(), APIRouter(prefix="/accounts/{account_id}", route_class=routes_as())
    install(app, api)
    router.post("/moves")(Move)
    api.include_router(router, prefix="/v1")
    async with client_of(api) as client:
        assert (await client.post(f"/v1{NOBODY}/moves", json={"amount": 1})).status_code == 404


def test_a_path_that_names_no_field_is_a_fault_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"\['id'\] is not one of \['account_id'\]"):
        APIRouter(route_class=routes_as()).post("/accounts/{id}/close")(Close)


@pytest.mark.parametrize("message", [Move, FindAccounts])
async def test_a_message_in_a_router_without_routes_as_is_refused(app: App, message: Any) -> None:
    """FastAPI would make an object of it and answer with that, and nothing would happen."""
    api = FastAPI()
    install(app, api)
    api.post("/moves")(message)
    with pytest.raises(
        ConfigurationError, match=rf"{message.__name__} stands under /moves in a router without routes_as"
    ):
        async with client_of(api):
            pass
