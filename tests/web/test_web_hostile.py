"""I1 over HTTP: hostile input gets a clear 4xx as a problem, never a 5xx and never a stack trace."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import Body, FastAPI, Request
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response

from diptych.app.application import App
from diptych.stream import token
from diptych.web import install, locate
from tests.web.shop import add_routes, client_of, make_api

pytestmark = pytest.mark.anyio

JSON = {"Content-Type": "application/json"}
MEBIBYTE = 1_048_576
PLACE = token(1, bytes(16))

BODIES: dict[str, tuple[bytes, int]] = {
    "1,000 nested arrays": (b"[" * 1000 + b"]" * 1000, 400),
    "100,000 nested arrays": (b"[" * 100_000, 400),
    "nested objects in a field": (b'{"owner": ' + b'{"a":' * 50 + b"1" + b"}" * 51, 400),
    "integer of 100,000 digits": (b'{"owner": ' + b"9" * 100_000 + b"}", 400),
    "integer beyond 64 bits": (b'{"owner": 18446744073709551616}', 400),
    "NaN": (b'{"owner": NaN}', 400),
    "Infinity": (b'{"owner": -Infinity}', 400),
    "duplicate keys": (b'{"owner": "a", "owner": "b"}', 400),
    "lone surrogate": (b'{"owner": "\\ud800"}', 400),
    "lone surrogate in a key": (b'{"\\udfff": "a"}', 400),
    "escaped NUL": (b'{"owner": "a\\u0000b"}', 400),
    "raw NUL": (b'{"owner": "a\x00b"}', 400),
    "invalid UTF-8": (b'{"owner": "\xff\xfe"}', 400),
    "UTF-16": (json.dumps({"owner": "Ada"}).encode("utf-16"), 400),
    "half a body": (b'{"owner": "A', 400),
    "just over 1 MB": (b'{"owner": "' + b"x" * MEBIBYTE + b'"}', 413),
    "64 MB": (b'{"owner": "' + b"x" * 64 * MEBIBYTE + b'"}', 413),
    "no body": (b"", 422),
    "an array": (b"[]", 422),
    "a text": (b'"a"', 422),
    "null": (b"null", 422),
    "wrong type": (b'{"owner": {"a": 1}}', 422),
    "unknown field": (b'{"owner": "a", "colour": "red"}', 422),
    "bad id": (b'{"owner": "a", "account_id": "../../etc/passwd"}', 422),
}

SERVER_FIELDS = [
    "command_id",
    "timestamp",
    "user_id",
    "correlation_id",
    "causation_id",
    "tenant",
    "envelope",
    "version",
]

TEXTS = [
    "' OR 1=1 --",
    '"; DROP TABLE account_row; --',
    "..",
    "%2e%2e",
    "*",
    ">",
    "a.b.c",
    "\u202eRTL",
    "\r\nX: 1",
    "💥",
]


def assert_problem(answer: httpx.Response, status: int, what: str = "") -> dict[str, Any]:
    assert answer.status_code == status, (what, answer.text[:300])
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Traceback" not in answer.text
    assert len(answer.content) < 20_000
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["type"].startswith("urn:diptych:problem:")
    return problem


async def test_a_hostile_body_is_a_problem_of_the_caller(client: httpx.AsyncClient) -> None:
    for name, (body, status) in BODIES.items():
        assert_problem(await client.post("/accounts", content=body, headers=JSON), status, name)


async def test_and_so_it_is_in_pieces_without_a_length(client: httpx.AsyncClient) -> None:
    async def pieces(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    for name, (body, status) in BODIES.items():
        assert_problem(await client.post("/accounts", content=pieces(body), headers=JSON), status, name)


async def test_and_so_it_is_where_ids_come_from_the_path(client: httpx.AsyncClient, account: str) -> None:
    for name, (body, status) in BODIES.items():
        assert_problem(await client.post(f"{account}/moves", content=body, headers=JSON), status, name)


async def test_a_large_body_is_refused_before_it_is_read_to_its_end(client: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * MEBIBYTE:
            sent += 65_536
            yield b" " * 65_536

    assert_problem(await client.post("/accounts", content=endless(), headers=JSON), 413)
    assert sent <= 2 * MEBIBYTE


@pytest.mark.parametrize("field", SERVER_FIELDS)
@pytest.mark.parametrize("method", ["post", "put"])
async def test_a_body_cannot_set_what_belongs_to_the_server(
    client: httpx.AsyncClient, account: str, field: str, method: str
) -> None:
    """I4, G3: every field of the envelope, on every kind of route."""
    value = "00000000-0000-0000-0000-000000000001"
    paths = {"post": ["/accounts", f"{account}/moves"], "put": [f"{account}/balance"]}[method]
    for path in paths:
        body = {"amount": 1} if path != "/accounts" else {"owner": "a"}
        answer = await client.request(method, path, json=body | {field: value}, headers={"If-Match": "*"})
        problem = assert_problem(answer, 422)
        assert problem["errors"][0]["pointer"] == f"#/{field}"
    answer = await client.request("delete", account, json={field: value})
    assert_problem(answer, 422)


async def test_the_path_field_cannot_come_from_the_body_too(client: httpx.AsyncClient, account: str) -> None:
    """I4: a proxy that checks the path is not to be bypassed by the body."""
    other = (await client.post("/accounts", json={"owner": "Bob"})).json()["account_id"]
    answer = await client.post(f"{account}/moves", json={"amount": 1, "account_id": other})
    assert assert_problem(answer, 422)["errors"][0]["pointer"] == "#/account_id"


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "text/json", "image/png", "x", "json"]
)
async def test_a_body_of_another_type_is_415(client: httpx.AsyncClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await client.post("/accounts", content=b'{"owner": "Ada"}', headers=headers)
    assert_problem(answer, 415)
    assert answer.headers["Accept"] == "application/json"


async def test_a_compressed_body_is_415(client: httpx.AsyncClient) -> None:
    answer = await client.post("/accounts", content=b"\x1f\x8b", headers={**JSON, "Content-Encoding": "gzip"})
    assert_problem(answer, 415)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"])
async def test_json_by_any_of_its_names_is_read_and_checked(client: httpx.AsyncClient, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    assert (await client.post("/accounts", content=b'{"owner": "Ada"}', headers=headers)).status_code == 201
    assert_problem(await client.post("/accounts", content=b'{"owner": NaN}', headers=headers), 400)


@pytest.mark.parametrize("target", ["/accounts?owner=a%00b", "/accounts/%00", "/accounts?%00=1", "/%00", "/docs?x=%00"])
async def test_a_nul_in_path_or_query_is_refused(client: httpx.AsyncClient, target: str) -> None:
    assert "NUL" in assert_problem(await client.get(target), 400)["detail"]


@pytest.mark.parametrize("target", ["/accounts?owner=%ff", "/accounts?owner=%ed%a0%80", "/accounts/%ff%fe"])
async def test_bytes_that_are_no_text_are_refused(client: httpx.AsyncClient, target: str) -> None:
    assert_problem(await client.get(target), 400)


async def test_what_only_some_servers_let_through_is_refused(api: FastAPI, client: httpx.AsyncClient) -> None:
    """Some servers decode the path with surrogateescape, or let a raw NUL through."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/accounts/\udcff", "query_string": b"", "headers": []}
    await api(scope, receive, send)
    await api({**scope, "path": "/accounts", "query_string": b"owner=a\0b"}, receive, send)
    assert [one["status"] for one in sent if "status" in one] == [400, 400]


@pytest.mark.parametrize("text", TEXTS)
async def test_strange_text_is_data_and_nothing_else(client: httpx.AsyncClient, text: str) -> None:
    answer = await client.post("/accounts", json={"owner": text})
    assert answer.status_code == 201
    found = await client.get(
        "/accounts", params={"owner": text}, headers={"Diptych-After": answer.headers["Diptych-Position"]}
    )
    assert [row["owner"] for row in found.json()] == [text]
    assert (await client.get(f"/accounts/{quote(text, safe='')}")).status_code in (404, 422)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "k" * 256),
        ("Idempotency-Key", "a\tb"),
        ("If-Match", ""),
        ("If-Match", "three"),
        ("If-Match", '"3'),
        ("If-Match", '"1", "2"'),
        ("Diptych-After", "x"),
        ("Diptych-After", "A" * 24),
        ("Diptych-After", "é" * 20),
        ("Diptych-After", ""),
        ("Diptych-After", f'"{PLACE}"'),
        ("Diptych-After", f"{PLACE}=="),
        ("Diptych-After", f"{PLACE[:9]}!!!!{PLACE[9:]}"),
        ("Diptych-After", "!" * 50_000 + PLACE),
        ("Diptych-After", f"{PLACE}, {PLACE}"),
    ],
)
async def test_a_malformed_header_is_400(client: httpx.AsyncClient, account: str, header: str, value: str) -> None:
    headers = {header.encode(): value.encode("latin-1")}
    if header == "Diptych-After":
        problem = assert_problem(await client.get(account, headers=headers), 400)
    else:
        problem = assert_problem(await client.post(f"{account}/moves", json={"amount": 1}, headers=headers), 400)
    assert problem["title"] == "A header is malformed"
    assert str(problem["detail"]).startswith(f"{header} takes ")


async def test_a_thousand_faults_are_answered_with_fifty(client: httpx.AsyncClient, account: str) -> None:
    answer = await client.post(f"{account}/moves", json={"amount": 1, "parts": [{}] * 1000})
    problem = assert_problem(answer, 422)
    assert len(problem["errors"]) == 50


async def test_what_was_sent_is_not_repeated_in_the_answer(client: httpx.AsyncClient) -> None:
    """G6: a secret in a wrong field stays out of answers and logs of answers."""
    answer = await client.post("/accounts", json={"owner": 1, "password": "s3cret"})
    assert "s3cret" not in answer.text


@pytest.mark.parametrize("version", ["99999999999999999999", "1e5", "-1", "'"])
async def test_a_strange_id_in_the_path_is_422(client: httpx.AsyncClient, version: str) -> None:
    assert_problem(await client.get(f"/accounts/{version}"), 422)


@pytest.mark.parametrize("is_inside", [True, False])
async def test_a_middleware_may_read_the_body_first(app: App, is_inside: bool) -> None:
    """I1: on whichever side of ours it stands; a refusal of what it read is no fault of the server."""

    async def read_first(request: Request, following: Any) -> Response:
        await request.body()
        response: Response = await following(request)
        return response

    api = FastAPI()
    if is_inside:
        api.add_middleware(BaseHTTPMiddleware, dispatch=read_first)
    install(app, api)
    if not is_inside:
        api.add_middleware(BaseHTTPMiddleware, dispatch=read_first)
    add_routes(api)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    async with client_of(api) as client:
        assert_problem(await client.post("/accounts", content=b'{"owner": NaN}', headers=JSON), 400)
        assert_problem(await client.post("/accounts", content=endless(), headers=JSON), 413)
        assert (await client.post("/accounts", json={"owner": "Ada"})).status_code == 201


async def test_json_without_a_content_type_is_checked_where_it_is_read(app: App) -> None:
    async with client_of(make_api(app, strict_content_type=False)) as client:
        assert (await client.post("/accounts", content=b'{"owner": "Ada"}')).status_code == 201
        for body in (b'{"owner": "a", "owner": "b"}', b'{"owner": "a\\ud800"}', b"[" * 100_000):
            assert_problem(await client.post("/accounts", content=body), 400)


@pytest.mark.parametrize("name", ["a\r\nSet-Cookie: x=1", "日本", "é b", "a?b#c", "a%2Fb", "%0d%0a"])
async def test_a_location_is_one_header_and_leads_there(app: App, name: str) -> None:
    api = make_api(app)

    @api.post("/things", status_code=201)
    async def make(name: Annotated[str, Body()], request: Request) -> None:
        locate(request, "thing", name=name)

    @api.get("/things/{name}")
    async def thing(name: str) -> str:
        return name

    async with client_of(api) as client:
        location = (await client.post("/things", json=name)).headers["Location"]
        assert location.isascii()
        assert location.isprintable()
        assert (await client.get(location)).json() == name
