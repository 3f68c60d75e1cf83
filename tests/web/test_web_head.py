"""HEAD: answered as GET is, without a body. Load balancers and caches ask so (RFC 9110, section 9.3.2)."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware

from diptych.app.application import App
from diptych.web import Queries, install, routes_as
from tests.web.shop import FindAccounts, GetAccount, client_of, make_api

pytestmark = pytest.mark.anyio

_OF_ONE_READ = ("diptych-age",)  # another each time it is asked for


def headers_of(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in _OF_ONE_READ}


async def sent_by(api: FastAPI, method: str, path: str) -> list[Any]:
    """What the application itself sends, without a server or client that leaves out the body of an answer to HEAD."""
    sent: list[Any] = []
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [], "scheme": "http", "root_path": "", "server": ("shop", 80),
        "asgi": {"version": "3.0", "spec_version": "2.4"},
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    with anyio.fail_after(5):
        await api(scope, receive, send)
    assert scope["method"] == method
    return sent


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/accounts?owner=Ada", "{account}"])
async def test_what_answers_get_answers_head_with_the_same_headers(
    client: httpx.AsyncClient, account: str, app: App, path: str
) -> None:
    await app.caught_up()
    path = path.format(account=account)
    get, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    if path not in ("/metrics", "/health/ready"):  # which say how things are at that moment
        assert headers_of(head) == headers_of(get)


async def test_a_read_with_head_waits_and_says_what_it_has_seen(client: httpx.AsyncClient, account: str) -> None:
    """R1: a client may ask for the version alone."""
    for version in range(3, 20):
        written = await client.post(f"{account}/moves", json={"amount": 1})
        seen = written.headers["Diptych-Position"]
        head = await client.head(account, headers={"Diptych-After": seen})
        assert (head.headers["ETag"], head.headers["Diptych-Position"]) == (f'"{version}"', seen)


async def test_what_is_not_there_is_not_there_for_head(client: httpx.AsyncClient) -> None:
    assert (await client.head("/accounts/0190b3c2-7a1e-7000-8000-00000000abcd")).status_code == 404
    assert (await client.head("/nowhere")).status_code == 404
    assert (await client.head("/accounts")).status_code == 422
    only_posted = await client.head("/transfers/1/2")
    assert (only_posted.status_code, only_posted.headers["Allow"]) == (405, "POST")


async def test_queries_under_routes_as_and_in_mounted_applications_answer_head(app: App) -> None:
    api, inner = FastAPI(), FastAPI()
    install(app, api)
    router = APIRouter(prefix="/accounts", route_class=routes_as())
    router.get("/{account_id}")(GetAccount)
    router.get("")(FindAccounts)
    inner.include_router(router)
    api.include_router(router, prefix="/v1")
    api.mount("/inner", inner)
    async with client_of(api) as client:
        for prefix in ("/v1", "/inner"):
            path = f"{prefix}/accounts?owner=Ada"
            get, head = await client.get(path), await client.head(path)
            assert (head.status_code, headers_of(head)) == (200, headers_of(get)), prefix
        assert [one for paths in api.openapi()["paths"].values() for one in paths] == ["get", "get"]


async def test_a_head_of_your_own_stays_yours(app: App) -> None:
    api = make_api(app)

    @api.get("/thing")
    async def got() -> str:
        return "thing"

    @api.head("/thing")
    async def asked() -> Response:
        return Response(headers={"X-Own": "yes"})

    async with client_of(api) as client:
        assert (await client.head("/thing")).headers["X-Own"] == "yes"
        assert (await client.get("/thing")).json() == "thing"


@pytest.mark.parametrize("has_middleware", [False, True])
async def test_no_body_is_sent_and_a_stream_is_not_gone_on_with(app: App, has_middleware: bool) -> None:
    """A route that sends for ever would go on for ever, for somebody who reads none of it."""
    api = FastAPI()
    if has_middleware:
        api.add_middleware(BaseHTTPMiddleware, dispatch=lambda request, following: following(request))
    install(app, api)

    async def ticks() -> AsyncIterator[str]:
        while True:
            await anyio.lowlevel.checkpoint()
            yield "tick\n"

    @api.get("/ticks")
    async def tick(queries: Queries) -> StreamingResponse:
        return StreamingResponse(ticks(), media_type="text/plain")

    async with app:
        for path in ("/ticks", "/health/ready"):
            start, *rest = await sent_by(api, "HEAD", path)
            assert start["status"] == 200
            assert [(one["body"], one.get("more_body", False)) for one in rest] == [(b"", False)]
