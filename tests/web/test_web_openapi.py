"""The OpenAPI document: problems for every route, bodies without what is the path's or the server's."""

import re
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Header
from pydantic import BaseModel

from diptych.app.application import App
from diptych.errors import DomainError
from tests.web.shop import Commands, Opened, add_routes, make_api

pytestmark = pytest.mark.anyio


@pytest.fixture
def document(api: FastAPI) -> dict[str, Any]:
    return api.openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{m} {path}", one) for path, item in document["paths"].items() for m, one in item.items()]


def test_every_route_declares_problems_and_nothing_else_for_errors(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        statuses = {status for status in operation["responses"] if status >= "400"}
        assert {"400", "422"} <= statuses, name
        for status in statuses:
            content = operation["responses"][status]["content"]
            assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert {"type", "title", "status"} == set(document["components"]["schemas"]["Problem"]["required"])
    assert "HTTPValidationError" not in str(document)


def test_each_kind_of_route_declares_what_can_happen_to_it(document: dict[str, Any]) -> None:
    def statuses(path: str, method: str) -> set[str]:
        return {status for status in document["paths"][path][method]["responses"] if status >= "400"}

    command = {"400", "404", "409", "412", "413", "415", "422", "503"}
    assert command <= statuses("/accounts", "post")
    assert "428" not in statuses("/accounts", "post")
    assert command | {"428"} <= statuses("/accounts/{account_id}/balance", "put")
    assert statuses("/accounts/{account_id}", "get") == {"400", "404", "422", "503"}
    retry = document["paths"]["/accounts"]["post"]["responses"]["503"]["headers"]
    assert "Retry-After" in retry


def test_headers_are_declared_in_both_directions(document: dict[str, Any]) -> None:
    post, get = document["paths"]["/accounts"]["post"], document["paths"]["/accounts"]["get"]
    assert {"Idempotency-Key", "If-Match"} <= {one["name"] for one in post["parameters"]}
    assert {"Diptych-After"} <= {one["name"] for one in get["parameters"]}
    assert {"Diptych-Position", "ETag"} <= post["responses"]["201"]["headers"].keys()
    assert {"Diptych-Position", "Diptych-Age", "Diptych-Stale"} <= get["responses"]["200"]["headers"].keys()
    put = document["paths"]["/accounts/{account_id}/balance"]["put"]
    assert next(one["required"] for one in put["parameters"] if one["name"] == "If-Match") is True


def test_the_body_is_without_the_path_s_fields_and_without_the_envelope(document: dict[str, Any]) -> None:
    """I4"""
    schemas = document["components"]["schemas"]
    assert set(schemas["MoveBody"]["properties"]) == {"amount", "note", "parts"}
    assert schemas["MoveBody"]["required"] == ["amount"]
    assert schemas["MoveBody"]["additionalProperties"] is False
    assert schemas["MoveBody"]["properties"]["parts"]["items"] == {"$ref": "#/components/schemas/Part"}
    assert set(schemas["OpenAccount"]["properties"]) == {"account_id", "owner"}
    path = document["paths"]["/accounts/{account_id}/moves"]["post"]["parameters"][0]
    assert (path["name"], path["in"], path["schema"]["format"]) == ("account_id", "path", "uuid")


def test_a_command_that_is_all_path_has_no_body(document: dict[str, Any]) -> None:
    assert "requestBody" not in document["paths"]["/accounts/{account_id}"]["delete"]
    assert "CloseBody" not in document["components"]["schemas"]


def test_routers_that_are_included_are_described_too(app: App) -> None:
    api, router = make_api(app), APIRouter()
    api.openapi()
    add_routes(router)  # type: ignore[arg-type]
    api.include_router(router, prefix="/v1")
    assert "Idempotency-Key" in str(api.openapi()["paths"]["/v1/accounts"]["post"])


async def test_it_is_served_and_the_same_every_time(client: httpx.AsyncClient) -> None:
    first, second = [(await client.get("/openapi.json")).json() for _ in range(2)]
    assert first == second
    assert (await client.get("/docs")).status_code == 200


def test_what_the_application_declares_itself_is_declared_once(app: App) -> None:
    """A document with one header twice, or with a reference to nowhere, is none."""
    api = make_api(app)

    class Problem(BaseModel):
        riddle: str

    @api.post("/own")
    async def own(commands: Commands, if_match: Annotated[str | None, Header()] = None) -> Problem:
        raise NotImplementedError

    document = api.openapi()
    names = [one["name"].lower() for one in document["paths"]["/own"]["post"]["parameters"]]
    assert len(names) == len(set(names))
    assert "idempotency-key" in names
    responses = document["paths"]["/own"]["post"]["responses"]
    shown = {status: next(iter(one["content"].values()))["schema"]["$ref"] for status, one in responses.items()}
    assert document["components"]["schemas"][shown["200"].rsplit("/", 1)[1]]["required"] == ["riddle"]
    assert document["components"]["schemas"][shown["409"].rsplit("/", 1)[1]]["required"] == ["type", "title", "status"]


def test_no_reference_leads_nowhere(app: App) -> None:
    api = make_api(app)

    @api.post("/own", responses={400: {"model": type("ValidationError", (Opened,), {})}})
    async def own(opened: Opened) -> None:
        raise NotImplementedError

    document = api.openapi()
    found = set(re.findall(r"'#/components/schemas/([^']+)'", str(document)))
    assert found <= document["components"]["schemas"].keys()
    assert "ValidationError" in found


def test_a_domain_error_may_have_a_status_that_no_standard_names(app: App) -> None:
    class CalmError(DomainError):
        status = 420

    responses = make_api(app).openapi()["paths"]["/accounts"]["post"]["responses"]
    assert responses["420"]["description"]
    assert CalmError.status == 420


def test_what_can_be_refused_of_a_body_that_has_to_be_empty_is_declared(document: dict[str, Any]) -> None:
    assert {"413", "415", "422"} <= document["paths"]["/accounts/{account_id}"]["delete"]["responses"].keys()


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(ids) == len(set(ids)) > 0
