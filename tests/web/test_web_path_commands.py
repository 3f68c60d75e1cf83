"""`from_path`: each field once, under whichever name the message has for it, and validated once."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from pydantic import AfterValidator, AliasChoices, ConfigDict, Field

from diptych.app.application import App
from diptych.clock import new_id
from diptych.messages import Command
from diptych.web import from_path
from tests.web.shop import client_of, make_api

pytestmark = pytest.mark.anyio


class Aliased(Command):
    account_id: UUID = Field(alias="accountId")
    amount: int = Field(default=0, alias="howMuch")


class Chosen(Command):
    account_id: UUID = Field(validation_alias=AliasChoices("account", "accountId"))
    amount: int = 0


class Lenient(Command):
    model_config = ConfigDict(populate_by_name=True, extra="ignore")
    account_id: UUID = Field(alias="accountId")
    amount: int = 0


class Marked(Command):
    account_id: Annotated[str, AfterValidator(lambda text: f"<{text}>")]
    amount: Annotated[int, Field(le=10)] = 0


KINDS: list[Any] = [Aliased, Chosen, Lenient, Marked]


@pytest.fixture
def api(app: App) -> FastAPI:
    api = make_api(app)
    for kind in KINDS:

        async def answer(command: Any) -> str:
            return str(command.account_id)

        async def handle(command: Any) -> None:
            """Without a handler the app would not start."""

        handle.__annotations__["command"] = kind
        app.commands.register(kind, handle)
        answer.__annotations__["command"] = Annotated[kind, from_path(kind, "account_id")]
        api.post(f"/{kind.__name__}/{{account_id}}")(answer)
    return api


@pytest.fixture
async def client(api: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(api) as client:
        yield client


@pytest.mark.parametrize("kind", KINDS)
async def test_the_path_gives_a_field_by_any_alias_and_once(client: httpx.AsyncClient, kind: type) -> None:
    """A validator that changes what it is given would otherwise do so twice."""
    id = str(new_id())
    answer = await client.post(f"/{kind.__name__}/{id}")
    assert answer.status_code == 200, answer.text
    assert answer.json() == (f"<{id}>" if kind is Marked else id)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["account_id", "accountId", "account"])
async def test_no_name_of_it_is_taken_from_the_body(client: httpx.AsyncClient, kind: type, name: str) -> None:
    """I4: a proxy that checks the path is not to be bypassed by the body; what a message ignores stays ignored."""
    id = str(new_id())
    answer = await client.post(f"/{kind.__name__}/{id}", json={name: str(new_id())})
    if kind is Lenient and name == "account":
        assert answer.json() == id
    else:
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["in"] == "body"
        assert answer.json()["errors"][0]["pointer"] == f"#/{name}"


async def test_faults_of_path_and_body_are_told_together(client: httpx.AsyncClient) -> None:
    answer = await client.post("/Aliased/7", json={"howMuch": "x"})
    assert [(one["in"], one["code"]) for one in answer.json()["errors"]] == [
        ("path", "uuid_parsing"),
        ("body", "int_parsing"),
    ]
    answer = await client.post("/Marked/7", json={"amount": 11})
    assert answer.json()["errors"][0]["code"] == "less_than_equal"


def test_the_document_keeps_the_type_of_the_path(api: FastAPI) -> None:
    for kind in KINDS:
        (field, *_) = api.openapi()["paths"][f"/{kind.__name__}/{{account_id}}"]["post"]["parameters"]
        assert (field["name"], field["in"], field["required"]) == ("account_id", "path", True)
        assert field["schema"].get("format") == (None if kind is Marked else "uuid")
