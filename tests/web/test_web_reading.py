"""R1 and R2 over HTTP: read your own write with the position of its answer, or be told that you did not."""

import time
from functools import partial
from uuid import UUID

import anyio
import anyio.lowlevel
import httpx
import pytest
from fastapi import FastAPI

from diptych.app.application import App
from diptych.messages import Query
from diptych.stream import read_token, token
from diptych.web import Queries, WebSettings
from tests.web.shop import AccountRow, GetAccount, MoneyMoved, client_of, make_api, tried

pytestmark = pytest.mark.anyio


async def test_a_read_with_the_position_of_a_write_has_seen_it(client: httpx.AsyncClient, account: str) -> None:
    """R1: a hundred times, without a sleep."""
    for balance in range(101, 201):
        written = await client.post(f"{account}/moves", json={"amount": 1})
        read = await client.get(account, headers={"Diptych-After": written.headers["Diptych-Position"]})
        assert read.json()["balance"] == balance
        assert "Diptych-Stale" not in read.headers


async def test_a_read_says_how_far_and_how_old_it_is(client: httpx.AsyncClient, account: str, app: App) -> None:
    await app.caught_up()
    read = await client.get(account)
    assert read_token(read.headers["Diptych-Position"])[0] == 2
    assert float(read.headers["Diptych-Age"]) == 0.0


async def test_positions_do_not_go_back(client: httpx.AsyncClient, account: str) -> None:
    """R2: what a read has seen, a later read with its position has seen too."""
    seen = (await client.get(account)).headers.get("Diptych-Position", token(0, bytes(16)))
    for _ in range(20):
        await client.post(f"{account}/moves", json={"amount": 1})
        read = await client.get(account, headers={"Diptych-After": seen})
        assert read_token(read.headers["Diptych-Position"])[0] >= read_token(seen)[0]
        seen = read.headers["Diptych-Position"]


async def test_an_answer_that_read_nothing_gives_no_position(app: App) -> None:
    """R2: a reader keeps the last position it was given, and would go back to the beginning with this one."""

    class Ask(Query[int]):
        pass

    @app.query_handler
    async def ask(query: Ask) -> int:
        return 42

    api = make_api(app)

    @api.get("/ask")
    async def asked(queries: Queries) -> int:
        return await queries.dispatch(Ask())

    async with client_of(api) as client:
        await client.post("/accounts", json={"owner": "Ada"})
        answer = await client.get("/ask")
        assert answer.json() == 42
        assert "Diptych-Position" not in answer.headers


async def test_waiting_that_is_given_up_leaves_nobody_waiting(
    client: httpx.AsyncClient, account: str, app: App
) -> None:
    """R1, P8: a client that goes away, or a server that stops."""
    headers = {"Diptych-After": token(1_000_000, bytes(16))}
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(partial(client.get, account, headers=headers))
        with anyio.fail_after(5):
            while not all(progress.is_waited_for for progress in app.progress.values()):
                await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert not any(progress.is_waited_for for progress in app.progress.values())


async def test_a_position_of_the_future_is_answered_stale_in_time(app: App) -> None:
    """R1: a forged token cannot block past the deadline, and a 404 says that it is stale as well."""
    async with client_of(make_api(app, WebSettings(fresh_within=0.1))) as client:
        opened = await client.post("/accounts", json={"owner": "Ada"})
        await app.caught_up()
        forged = {"Diptych-After": token(1_000_000, bytes(16))}
        start = time.monotonic()
        read = await client.get(opened.headers["Location"], headers=forged)
        missing = await client.get("/accounts/0190b3c2-7a1e-7000-8000-00000000abcd", headers=forged)
        assert time.monotonic() - start < 5
        assert read.status_code == 200
        assert missing.status_code == 404
        for answer in (read, missing):
            assert answer.headers["Diptych-Stale"] == "true"
            assert answer.headers["Diptych-Stale-Reason"] == "behind"


async def test_a_position_of_another_history_is_answered_as_it_is_and_said_to_be_r1(
    client: httpx.AsyncClient, account: str, app: App
) -> None:
    """As after a backup was restored. A client that keeps the last position it was given is not stuck with that one."""
    await app.caught_up()
    lost = {"Diptych-After": token(2, bytes([1] * 16))}
    read = await client.get(account, headers=lost)
    missing = await client.get("/accounts/0190b3c2-7a1e-7000-8000-00000000abcd/shown", headers=lost)
    assert (read.status_code, read.json()["balance"], missing.status_code) == (200, 100, 404)
    for answer in (read, missing):
        assert answer.headers["Diptych-Stale"] == "true"
        assert answer.headers["Diptych-Stale-Reason"] == "other-history"
    again = await client.get(account, headers={"Diptych-After": read.headers["Diptych-Position"]})
    assert "Diptych-Stale" not in again.headers


async def test_what_is_not_there_yet_is_not_called_missing(app: App) -> None:
    """R1: an error for a row that a fresh answer might have is a 503 to be tried again; without a wish it is a 404."""
    async with client_of(make_api(app, WebSettings(fresh_within=0.1))) as client:
        path = "/accounts/0190b3c2-7a1e-7000-8000-00000000abcd/shown"
        missing = await client.get(path)
        stale = await client.get(path, headers={"Diptych-After": token(1_000_000, bytes(16))})
        assert (missing.status_code, stale.status_code) == (404, 503)
        assert stale.json()["type"] == "urn:diptych:problem:stale-read"
        assert stale.headers["Diptych-Stale"] == "true"
        assert stale.headers["Retry-After"] == "1"


async def test_a_route_may_insist_on_a_fresh_answer(app: App) -> None:
    """R1: `after=` in the route is fresh or an error, whatever the headers say."""
    api = make_api(app)

    @api.get("/insist/{account_id}")
    async def insist(account_id: UUID, queries: Queries) -> AccountRow | None:
        return await queries.dispatch(GetAccount(account_id=account_id), after=token(1_000_000, bytes(16)), within=0.05)

    async with client_of(api) as client:
        assert (await client.get("/insist/0190b3c2-7a1e-7000-8000-00000000abcd")).status_code == 503


async def test_a_stopped_projection_answers_stale_at_once_and_says_why(
    api: FastAPI, client: httpx.AsyncClient, account: str, app: App
) -> None:
    """R1, P7: parked or stopped is said, not waited for."""
    poisoned = await client.post(f"{account}/moves", json={"amount": 1, "note": "poison"})
    await tried(app, 3)
    read = await client.get(account, headers={"Diptych-After": poisoned.headers["Diptych-Position"]})
    assert read.json()["balance"] == 100
    assert read.headers["Diptych-Stale"] == "true"
    assert read.headers["Diptych-Stale-Reason"] in ("parked", "stopped")


async def test_events_carry_who_asked_and_the_conversation(client: httpx.AsyncClient, account: str, app: App) -> None:
    """I4: the user comes from the application's dependency, the correlation from the request."""
    correlation = "0190b3c2-7a1e-7000-8000-00000000abcd"
    headers = {"X-User": "ada", "X-Correlation-ID": correlation, "Idempotency-Key": correlation}
    await client.post(f"{account}/moves", json={"amount": 1}, headers=headers)
    await client.post(
        f"{account}/moves",
        json={"amount": 2},
        headers={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
    )
    rows = (await app.events.read_log(after=2)).events
    first, second = [app.codec.recorded(row) for row in rows]
    assert first.event == MoneyMoved(amount=1)
    assert first.metadata.user_id == "ada"
    assert str(first.metadata.correlation_id) == str(first.metadata.command_id) == correlation
    assert second.metadata.user_id is None
    assert second.metadata.correlation_id is not None
    assert second.metadata.correlation_id.hex == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("sent", ["", "x" * 300, "\t", '""'])
async def test_a_useless_correlation_id_is_passed_over(client: httpx.AsyncClient, account: str, sent: str) -> None:
    answer = await client.post(f"{account}/moves", json={"amount": 1}, headers={"X-Correlation-ID": sent})
    assert answer.status_code == 200
