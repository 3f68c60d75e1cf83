"""The order service under schemathesis and the hostile corpus: no 5xx, no stack trace, and it goes on serving (I1)."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from tests.campaigns.service import Service, Shoppers, serving
from tests.campaigns.stores import sqlite_url
from tests.web.test_web_hostile import BODIES, TEXTS

SECONDS = int(os.environ.get("SCHEMATHESIS_SECONDS", "25"))

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180 + SECONDS)]

HERE = Path(__file__).parent
JSON = {"Content-Type": "application/json"}
LARGEST = 2 * 1024 * 1024  # bytes: of a larger body the server closes the connection before it is sent


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A running service; whatever was done to it, it printed no stack trace and still takes orders."""
    async with serving(sqlite_url(tmp_path / "orders.db"), tmp_path / "log") as service:
        yield service
        async with Shoppers(service.url, 1) as shoppers:
            shopping = asyncio.create_task(shoppers.shop())
            await asyncio.sleep(0.2)
            shoppers.is_over = True
            await shopping
            await shoppers.check()
    assert "Traceback" not in service.log.read_text()


async def test_schemathesis_finds_nothing(service: Service, tmp_path: Path) -> None:
    """I1 to I4: all checks, in all phases, for as long as SCHEMATHESIS_SECONDS says."""
    async with Shoppers(service.url, 1):
        command = f"run {service.url}/openapi.json --checks all --max-time {SECONDS} --seed 1 --no-color".split()
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            *["--config-file", str(HERE / "schemathesis.toml"), *command],
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def test_a_hostile_body_gets_a_clear_4xx_from_every_route(service: Service) -> None:
    """I1: every body of the corpus, sent over a socket to each route that takes one."""
    order = f"/orders/{uuid4()}"
    routes = [
        ("POST", "/customers"),
        ("POST", "/orders"),
        ("POST", f"{order}/items"),
        ("PUT", f"{order}/shipping-address"),
        ("PUT", f"{order}/status"),
        ("POST", "/credit-notes"),
        ("POST", f"/products/{uuid4()}/stock"),
    ]
    async with httpx.AsyncClient(base_url=f"{service.url}/api/v1") as client:
        for name, (body, _) in BODIES.items():
            for method, path in routes if len(body) <= LARGEST else ():
                answer = await client.request(method, path, content=body, headers=JSON)
                _assert_refused(answer, f"{method} {path} with {name}")


async def test_a_hostile_text_is_refused_or_kept_as_it_is(service: Service) -> None:
    """I1, I3: in paths, queries and headers it is nothing but text."""
    async with httpx.AsyncClient(base_url=f"{service.url}/api/v1") as client:
        for text in TEXTS:
            quoted = httpx.QueryParams({"customer_id": text, "cursor": text, "page": text})
            _assert_refused(await client.get("/orders", params=quoted), f"query {text!r}")
            path = f"/orders/{quote(text, safe='').replace('.', '%2E')}"
            _assert_refused(await client.get(path), f"path {text!r}")
            name = {"name": text, "address": {"country": text}}
            kept = await client.post("/customers", json=name)
            assert kept.status_code in (201, 422), kept.text


def _assert_refused(answer: httpx.Response, what: str) -> None:
    assert 400 <= answer.status_code < 500, f"{what}: {answer.status_code} {answer.text[:300]}"
    assert answer.headers["content-type"] == "application/problem+json", what
    assert "Traceback" not in answer.text, what
