"""What all tests share: the asyncio backend, reproducible hypothesis runs, and no skips in CI."""

import itertools
import os
import signal
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import Server, had_or_skipped
from tests.postgres_servers.bouncer import Bouncer

settings.register_profile(
    "diptych", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("diptych")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background job; what it starts would ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)

IS_CI = os.environ.get("CI", "").lower() in ("1", "true")


@pytest.fixture
def anyio_backend() -> str:
    """Every async test runs on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One PostgreSQL server for all tests that only need a schema of their own."""
    with had_or_skipped():
        server = Server()
    yield server
    server.remove()


_numbers = itertools.count(1)


@pytest.fixture
def postgres_url(postgres: Server) -> Iterator[str]:
    """The URL of a schema that no other test uses, dropped after the test."""
    schema = f"test_{next(_numbers)}"
    yield postgres.url(schema=schema)
    postgres.query(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture(scope="session")
def bouncer(postgres: Server) -> Iterator[Bouncer]:
    """PgBouncer in front of that server."""
    with had_or_skipped():
        bouncer = Bouncer(postgres, connections=10)
    yield bouncer
    bouncer.remove()


@pytest.fixture
def pooled_url(postgres_url: str, bouncer: Bouncer) -> str:
    """The URL of the same schema as `postgres_url`, behind PgBouncer.

    Without TLS: asyncpg forgets a future when it is cancelled while it asks for that, and then a test fails.
    """
    return bouncer.url(schema=postgres_url.rpartition("schema=")[2], options="&pgbouncer=true&sslmode=disable")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Turn a skip into a failure in CI: there, everything a test needs has to be had."""
    report = yield
    if IS_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {report.longrepr}"
    return report
