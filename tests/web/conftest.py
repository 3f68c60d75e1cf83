"""A running shop and a client of it, for every test of the web front."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from diptych.app.application import App
from tests.urls import url_for
from tests.web.shop import client_of, make_api, make_app


@pytest.fixture(params=["memory", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


@pytest.fixture
def app(url: str) -> App:
    return make_app(url)


@pytest.fixture
def api(app: App) -> FastAPI:
    return make_api(app)


@pytest.fixture
async def client(api: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(api) as client:
        yield client


@pytest.fixture
async def account(client: httpx.AsyncClient) -> str:
    """The path of an open account with 100 on it, at version 2."""
    path = (await client.post("/accounts", json={"owner": "Ada"})).headers["Location"]
    assert (await client.post(f"{path}/moves", json={"amount": 100})).status_code == 200
    return str(path)
