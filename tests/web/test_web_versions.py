"""ETag and If-Match: the version that a caller has seen is the version that it changes."""

import httpx
import pytest

pytestmark = pytest.mark.anyio


async def test_a_command_answers_with_the_version_it_made(client: httpx.AsyncClient, account: str) -> None:
    answer = await client.post(f"{account}/moves", json={"amount": 1})
    assert answer.headers["ETag"] == '"3"'


async def test_a_read_answers_with_the_version_it_shows(client: httpx.AsyncClient, account: str) -> None:
    made = await client.post(f"{account}/moves", json={"amount": 1})
    answer = await client.get(account, headers={"Diptych-After": made.headers["Diptych-Position"]})
    assert answer.headers["ETag"] == '"3"'


async def test_of_several_aggregates_no_version_is_given(client: httpx.AsyncClient, account: str) -> None:
    """One version for two aggregates would be wrong for one of them."""
    target = (await client.post("/accounts", json={"owner": "Bob"})).json()["account_id"]
    source = account.rsplit("/", 1)[1]
    answer = await client.post(f"/transfers/{source}/{target}", json={"balance": 30})
    assert answer.status_code == 204
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("tag", ['"2"', 'W/"2"', "*", ' "2" ', "2"])
async def test_the_version_that_is_there_is_accepted(client: httpx.AsyncClient, account: str, tag: str) -> None:
    answer = await client.post(f"{account}/moves", json={"amount": 1}, headers={"If-Match": tag})
    assert answer.status_code == 200


@pytest.mark.parametrize("tag", ['"1"', '"3"', '"0"', '"abc"', '""', '"99999999999999999999"', '"²"'])
async def test_any_other_version_is_412_and_changes_nothing(client: httpx.AsyncClient, account: str, tag: str) -> None:
    """L6"""
    answer = await client.post(f"{account}/moves", json={"amount": 1}, headers={b"If-Match": tag.encode("latin-1")})
    assert answer.status_code == 412
    assert answer.json()["type"] == "urn:diptych:problem:precondition-failed"
    assert "ETag" not in answer.headers
    assert (await client.post(f"{account}/moves", json={"amount": 1})).json() == {"balance": 101}


async def test_a_repetition_is_answered_though_the_version_has_moved_on(
    client: httpx.AsyncClient, account: str
) -> None:
    """C1: a command that took effect is never answered with a rejection."""
    headers = {"If-Match": '"2"', "Idempotency-Key": "k"}
    first, again = [await client.post(f"{account}/moves", json={"amount": 1}, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_route_may_demand_the_version(client: httpx.AsyncClient, account: str) -> None:
    answer = await client.put(f"{account}/balance", json={"amount": 1})
    assert answer.status_code == 428
    assert answer.json()["type"] == "urn:diptych:problem:precondition-required"
    answer = await client.put(f"{account}/balance", json={"amount": 1}, headers={"If-Match": '"2"'})
    assert answer.status_code == 200


async def test_creating_what_exists_is_a_conflict(client: httpx.AsyncClient, account: str) -> None:
    answer = await client.post("/accounts", json={"owner": "Eve", "account_id": account.rsplit("/", 1)[1]})
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:diptych:problem:conflict"


async def test_two_lines_of_if_match_are_two_versions(client: httpx.AsyncClient, account: str) -> None:
    """L6: the second of them is not passed over."""
    headers = [("If-Match", '"2"'), ("If-Match", '"7"')]
    answer = await client.post(f"{account}/moves", json={"amount": 1}, headers=headers)
    assert answer.status_code == 400
