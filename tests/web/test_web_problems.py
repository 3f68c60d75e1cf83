"""Every error is a problem (RFC 9457): its status from one table, its words for the caller, nothing of our insides."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Body, FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict

from diptych import errors
from diptych.app.application import App
from diptych.clock import new_id
from diptych.messages import Query
from diptych.stream import StreamName
from diptych.web.problems import KINDS, kind_of
from tests.web.shop import GetAccount, client_of, make_api

pytestmark = pytest.mark.anyio

STREAM = StreamName("", "Account", new_id())

RAISED = [
    (errors.InvalidInputError("too large"), 400, "invalid-input"),
    (errors.AggregateNotFoundError("Account", 1), 404, "not-found"),
    (errors.ReadModelNotFoundError("AccountRow", 1), 404, "not-found"),
    (errors.WrongExpectedVersionError(STREAM, 1, 2), 409, "conflict"),
    (errors.ConflictError("exists"), 409, "conflict"),
    (errors.CommandIdReusedError("Move", 1), 422, "idempotency-key-reused"),
    (errors.StaleReadError(["accounts"], "behind", 1.0), 503, "stale-read"),
    (errors.UnknownOutcomeError("power"), 503, "unknown-outcome"),
    (errors.StoreUnavailableError("/srv/secret/shop.db is locked"), 503, "unavailable"),
    (errors.StoreFullError("/srv/secret/shop.db: no space"), 503, "unavailable"),
    (errors.StoreReadOnlyError("/srv/secret/shop.db"), 503, "unavailable"),
    (errors.StoreMovedError("/srv/secret/shop.db", "postgresql://secret/shop"), 503, "unavailable"),
    (errors.StoreCorruptedError("/srv/secret/shop.db"), 503, "unavailable"),
    (errors.OtherHistoryError("/srv/secret/shop.db", 7), 503, "other-history"),
    (errors.SkippedPositionsError(1, 3), 503, "unavailable"),
    (errors.DecodeError("Moved", 1, 7, "/srv/secret"), 500, "internal-error"),
    (errors.AccessDeniedError("/srv/secret"), 500, "internal-error"),
    (errors.ProgrammingError("/srv/secret"), 500, "internal-error"),
    (KeyError("/srv/secret"), 500, "internal-error"),
]


def kind_name(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    return str(answer.json()["type"]).removeprefix("urn:diptych:problem:")


async def get_raising(app: App, error: Exception, path: str = "/raise") -> httpx.Response:
    api = make_api(app)

    @api.get("/raise")
    async def fail() -> None:
        raise error

    async with client_of(api) as client:
        return await client.get(path)


@pytest.mark.parametrize(("error", "status", "name"), RAISED, ids=lambda one: type(one).__name__)
async def test_each_error_has_its_status(app: App, error: Exception, status: int, name: str) -> None:
    answer = await get_raising(app, error)
    assert answer.status_code == status
    assert kind_name(answer) == name
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert ("Retry-After" in answer.headers) is (status == 503)


@pytest.mark.parametrize(
    "error", [error for error, status, _ in RAISED if status == 404], ids=lambda one: type(one).__name__
)
async def test_a_client_is_told_what_is_missing_and_the_developer_what_to_write(app: App, error: Exception) -> None:
    answer = await get_raising(app, error)
    assert answer.json()["detail"] == str(error)
    assert "get" not in str(error)
    assert "get" in error.__notes__[0]


def every(cls: type[errors.DiptychError]) -> Iterator[type[errors.DiptychError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from every(child)


def test_every_error_is_answered_as_the_page_of_errors_says() -> None:
    """A new error class is placed on that page, and so in the table or among those that are our own fault."""
    page = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
    said = dict(re.findall(r"^\| `(\w+)` \|.*\| ([0-9]{3}|-)[^|]*\|$", page, re.MULTILINE))
    ours = {cls for cls in every(errors.DiptychError) if cls.__module__.startswith("diptych.")}
    answered = {cls.__name__: kind_of(cls.__new__(cls)) for cls in ours - {errors.DiptychError}}
    assert said.keys() == answered.keys()
    for name, kind in answered.items():
        assert said[name] == (str(kind.status) if kind else said[name]), name
        assert kind or said[name] in ("500", "-"), name


@pytest.mark.parametrize(
    ("cls", "status", "title", "name"),
    [
        (
            type("InsufficientInventoryError", (errors.DomainError,), {}),
            409,
            "Insufficient inventory",
            "insufficient-inventory",
        ),
        (type("PaymentRequired", (errors.DomainError,), {"status": 402}), 402, "Payment required", "payment-required"),
        (
            type("HTTPLimitError", (errors.DomainError,), {"title": "Slow down", "status": 429}),
            429,
            "Slow down",
            "http-limit",
        ),
        (type("Error", (errors.DomainError,), {}), 409, "Error", "error"),
        (type("Nonsense", (errors.DomainError,), {"status": 200}), 409, "Nonsense", "nonsense"),
    ],
)
def test_a_domain_error_chooses_its_status_and_title(
    cls: type[errors.DomainError], status: int, title: str, name: str
) -> None:
    kind = kind_of(cls("why"))
    assert kind is not None
    assert (kind.status, kind.title, kind.name) == (status, title, name)


async def test_a_domain_error_says_why_in_its_own_words(client: httpx.AsyncClient, account: str) -> None:
    answer = await client.post(f"{account}/moves", json={"amount": -500})
    assert answer.status_code == 400
    assert answer.json()["title"] == "Not enough money"
    assert "has 100" in answer.json()["detail"]
    await client.delete(account)
    assert (await client.post(f"{account}/moves", json={"amount": 1})).json()["type"] == "urn:diptych:problem:closed"


async def test_what_is_for_the_operator_is_logged_under_the_instance(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """G6: the caller gets the id, the log gets the cause."""
    with caplog.at_level(logging.WARNING, "diptych.web"):
        full = await get_raising(app, errors.StoreFullError("shop.db: no space left"))
        broken = await get_raising(app, ZeroDivisionError("oops"))
    for answer, cause in ((full, "no space left"), (broken, "oops")):
        record = next(one for one in caplog.records if answer.json()["instance"] in one.getMessage())
        assert cause in record.getMessage() + str(record.exc_info)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PATCH", "/accounts", 405)])
async def test_the_router_s_own_refusals_are_problems_too(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert kind_name(answer) == {404: "not-found", 405: "method-not-allowed"}[status]
    assert status == 404 or answer.headers["Allow"] == "GET, HEAD, POST"


async def test_an_http_exception_keeps_its_detail_and_headers(app: App) -> None:
    answer = await get_raising(app, HTTPException(401, "Log in first.", {"WWW-Authenticate": "Bearer"}))
    assert answer.json()["detail"] == "Log in first."
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert kind_name(answer) == "unauthorized"
    answer = await get_raising(app, HTTPException(418, {"pot": 1}))
    assert answer.json()["info"] == {"pot": 1}
    assert (await get_raising(app, HTTPException(304))).content == b""


async def test_a_message_that_a_route_builds_of_bad_input_is_422_and_any_other_model_500(app: App) -> None:
    class Setting(BaseModel):
        number: int

    api = make_api(app)

    @api.get("/message/{text}")
    async def message(text: str) -> None:
        GetAccount(account_id=text)  # type: ignore[arg-type]

    @api.get("/setting/{text}")
    async def setting(text: str) -> None:
        Setting(number=text)  # type: ignore[arg-type]

    async with client_of(api) as client:
        assert (await client.get("/message/x")).json()["errors"][0]["pointer"] == "#/account_id"
        assert (await client.get("/setting/x")).status_code == 500


async def test_a_message_is_known_by_the_title_it_gave_itself(app: App) -> None:
    class Titled(Query[None]):
        model_config = ConfigDict(title="By another name")
        number: int

    api = make_api(app)

    @api.get("/titled")
    async def titled(number: str) -> None:
        Titled(number=number)  # type: ignore[arg-type]

    async with client_of(api) as client:
        assert (await client.get("/titled?number=x")).json()["errors"][0]["pointer"] == "#/number"


@pytest.mark.parametrize("faults", [[], [{}], [{"loc": (), "msg": "no"}], [{"loc": ("query", "x"), "msg": "no"}]])
async def test_faults_that_a_route_names_itself_need_not_be_complete(app: App, faults: list[dict[str, str]]) -> None:
    """FastAPI looks into none of them either."""
    answer = await get_raising(app, RequestValidationError(faults, body=b"x"))
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == len(faults)


async def test_422_points_into_the_body_and_names_parameters(client: httpx.AsyncClient, account: str) -> None:
    answer = await client.post(f"{account}/moves", json={"amount": 1, "parts": [{"label": "a", "amount": "x"}]})
    assert answer.status_code == 422
    assert kind_name(answer) == "invalid-request"
    place = answer.json()["errors"][0]
    assert (place["in"], place["pointer"], place["code"]) == ("body", "#/parts/0/amount", "int_parsing")
    place = (await client.get("/accounts")).json()["errors"][0]
    assert (place["in"], place["name"], place["code"]) == ("query", "owner", "missing")
    place = (await client.post("/accounts/x/moves", json={"amount": 1})).json()["errors"][0]
    assert (place["in"], place["name"], place["code"]) == ("path", "account_id", "uuid_parsing")
    answer = await client.post(f"{account}/moves", json={"amount": 1, "parts": [{"label": "a", "amount": 2}]})
    assert "do not add up" in answer.json()["errors"][0]["detail"]


async def test_a_problem_can_hold_any_character(app: App) -> None:
    answer = await get_raising(app, errors.ConflictError("\ud800 \0 \r\n 💥"))
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"


async def test_handlers_of_the_application_stay_its_own(app: App) -> None:
    async def mine(_: object, error: Exception) -> Response:
        return PlainTextResponse("mine", 499)

    api = make_api(app, exception_handlers={errors.ConflictError: mine, Exception: mine, HTTPException: mine})

    @api.post("/any")
    async def post(text: Annotated[str, Body()]) -> None:
        raise errors.ConflictError("x") if text == "conflict" else ZeroDivisionError

    async with client_of(api) as client:
        assert (await client.post("/any", json="conflict")).text == "mine"
        assert (await client.post("/any", json="x")).text == "mine"
        assert (await client.post("/any", json=7)).status_code == 422


def test_the_table_names_statuses_that_exist(api: FastAPI) -> None:
    assert {kind.status for kind in KINDS.values()} == {400, 404, 409, 422, 503}
