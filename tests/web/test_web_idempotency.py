"""C1 and C2 over HTTP: a key takes effect once, and is answered as the first time."""

import httpx
import pytest

pytestmark = pytest.mark.anyio

KEYS = ["0190b3c2-7a1e-7000-8000-00000000abcd", "order-17", '"a key in quotes"', "k" * 255, "!~"]


@pytest.mark.parametrize("key", KEYS)
async def test_the_same_request_again_gets_the_first_answer(client: httpx.AsyncClient, account: str, key: str) -> None:
    """C1"""
    headers = {"Idempotency-Key": key}
    first = await client.post(f"{account}/moves", json={"amount": 5}, headers=headers)
    await client.post(f"{account}/moves", json={"amount": 1000})
    again = await client.post(f"{account}/moves", json={"amount": 5}, headers=headers)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert [again.headers[name] for name in ("ETag", "Diptych-Position")] == [
        first.headers[name] for name in ("ETag", "Diptych-Position")
    ]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_an_id_that_the_server_made_is_made_once(client: httpx.AsyncClient) -> None:
    """C1: the default is not part of what the caller gave."""
    headers = {"Idempotency-Key": "open"}
    first, again = [await client.post("/accounts", json={"owner": "Ada"}, headers=headers) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.headers["Location"] == again.headers["Location"] == f"/accounts/{first.json()['account_id']}"


async def test_another_body_under_the_same_key_is_422(client: httpx.AsyncClient, account: str) -> None:
    """C2"""
    headers = {"Idempotency-Key": "k"}
    await client.post(f"{account}/moves", json={"amount": 5}, headers=headers)
    answer = await client.post(f"{account}/moves", json={"amount": 6}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:diptych:problem:idempotency-key-reused"


async def test_a_rejection_is_not_remembered(client: httpx.AsyncClient, account: str) -> None:
    """C1"""
    headers = {"Idempotency-Key": "k"}
    refused = await client.post(f"{account}/moves", json={"amount": -500}, headers=headers)
    assert refused.status_code == 400
    await client.post(f"{account}/moves", json={"amount": 500})
    answer = await client.post(f"{account}/moves", json={"amount": -500}, headers=headers)
    assert answer.status_code == 200


async def test_the_same_key_of_another_user_is_another_key(client: httpx.AsyncClient, account: str) -> None:
    """G16"""
    answers = [
        await client.post(f"{account}/moves", json={"amount": 5}, headers={"Idempotency-Key": "k", "X-User": user})
        for user in ("ada", "bob")
    ]
    assert [answer.json()["balance"] for answer in answers] == [105, 110]


async def test_several_commands_of_one_request_each_take_effect_once(client: httpx.AsyncClient, account: str) -> None:
    """C1: the second command of a type has an id of its own, made of the key."""
    target = (await client.post("/accounts", json={"owner": "Bob"})).json()["account_id"]
    source = account.rsplit("/", 1)[1]
    answers = [
        await client.post(f"/transfers/{source}/{target}", json={"balance": 30}, headers={"Idempotency-Key": "k"})
        for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [204] * 3
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true", "true"]
    left = await client.get(account, headers={"Diptych-After": answers[0].headers["Diptych-Position"]})
    assert left.json()["balance"] == 70


async def test_half_a_request_that_took_effect_is_completed_and_not_called_a_replay(
    client: httpx.AsyncClient, account: str
) -> None:
    """C1: as after a crash between the two commands of one request."""
    source, target = account.rsplit("/", 1)[1], "0190b3c2-7a1e-7000-8000-00000000abcd"
    headers = {"Idempotency-Key": "k"}
    half = await client.post(f"/transfers/{source}/{target}", json={"balance": 30}, headers=headers)
    assert half.status_code == 404
    await client.post("/accounts", json={"owner": "Bob", "account_id": target})
    whole = await client.post(f"/transfers/{source}/{target}", json={"balance": 30}, headers=headers)
    assert whole.status_code == 204
    assert "Idempotent-Replayed" not in whole.headers
    left = await client.get(account, headers={"Diptych-After": whole.headers["Diptych-Position"]})
    assert left.json()["balance"] == 70


async def test_requests_in_parallel_with_one_key_take_effect_once(client: httpx.AsyncClient, account: str) -> None:
    """C1"""
    import anyio

    answers: list[httpx.Response] = []

    async def send() -> None:
        headers = {"Idempotency-Key": "k"}
        answers.append(await client.post(f"{account}/moves", json={"amount": 5}, headers=headers))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(send)
    assert {answer.content for answer in answers} == {b'{"balance":105}'}
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 7
