"""C1 and C2 over HTTP: a key takes effect once, and is answered as the first time."""

from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import UUID

import anyio
import anyio.lowlevel
import httpx
import pytest
from fastapi import Depends, FastAPI

from diptych.web import Commands as NobodysCommands
from diptych.web import commands_as
from diptych.write.bus import CommandBus
from tests.web.shop import Commands, Move, client_of, make_api, make_app

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
    assert answer.json()["detail"].endswith("or take a new key.")


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
    answers: list[httpx.Response] = []

    async def send() -> None:
        headers = {"Idempotency-Key": "k"}
        answers.append(await client.post(f"{account}/moves", json={"amount": 5}, headers=headers))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(send)
    assert {answer.content for answer in answers} == {b'{"balance":105}'}
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 7


async def test_two_buses_of_one_request_count_its_commands_together(
    api: FastAPI, client: httpx.AsyncClient, account: str
) -> None:
    """C1: the second command of a request is not taken for a repetition of the first, whichever bus sends it."""

    @api.post("/{account_id}/{way}")
    async def both(account_id: UUID, way: str, commands: Commands, other: NobodysCommands) -> None:
        await commands.dispatch(Move(account_id=account_id, amount=1))
        await (other if way == "other" else commands.as_user(None)).dispatch(Move(account_id=account_id, amount=1))

    for way, balance in (("other", 102), ("as_user", 104)):
        path, headers = f"/{account.rsplit('/', 1)[1]}/{way}", {"Idempotency-Key": way, "If-Match": "*"}
        first, again = [await client.post(path, headers=headers) for _ in range(2)]
        assert "Idempotent-Replayed" not in first.headers
        assert again.headers["Idempotent-Replayed"] == "true"
        read = await client.get(account, headers={"Diptych-After": again.headers["Diptych-Position"]})
        assert read.json()["balance"] == balance


async def test_one_command_sent_again_by_its_route_is_the_same_command(
    api: FastAPI, client: httpx.AsyncClient, account: str
) -> None:
    """C1: as after an unknown outcome; nor does it shift the ids of the commands after it."""

    @api.post("/{account_id}/{times}")
    async def again_and_again(account_id: UUID, times: int, commands: Commands) -> bool:
        first, second = Move(account_id=account_id, amount=1), Move(account_id=account_id, amount=10)
        is_asked_before = first.command_id is not None
        for _ in range(times):
            await commands.dispatch(first)
        await commands.dispatch(second)
        return is_asked_before

    path = f"/{account.rsplit('/', 1)[1]}"
    answers = [
        await client.post(f"{path}/{times}", headers={"Idempotency-Key": "k", "If-Match": '"2"'}) for times in (3, 1, 2)
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    read = await client.get(account, headers={"Diptych-After": answers[0].headers["Diptych-Position"]})
    assert read.json()["balance"] == 111


async def test_all_commands_of_a_request_are_one_conversation(
    api: FastAPI, client: httpx.AsyncClient, account: str
) -> None:
    @api.post("/{account_id}")
    async def both(
        account_id: UUID, one: Commands, two: Annotated[CommandBus, Depends(commands_as(lambda: "eve"))]
    ) -> list[UUID | None]:
        moves = [Move(account_id=account_id, amount=amount) for amount in (1, 2)]
        await one.dispatch(moves[0])
        await two.dispatch(moves[1])
        return [move.correlation_id for move in moves]

    first, second = (await client.post(f"/{account.rsplit('/', 1)[1]}")).json()
    assert first == second is not None


async def test_two_keys_are_not_the_first_of_them(client: httpx.AsyncClient, account: str) -> None:
    """C1, C2: several lines of a header are what HTTP takes them for, one with commas."""
    move = {"amount": 5}
    both = await client.post(
        f"{account}/moves", json=move, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    )
    assert both.status_code == 200
    first = await client.post(f"{account}/moves", json=move, headers={"Idempotency-Key": "a"})
    assert first.json() == {"balance": 110}


async def test_a_request_that_is_cancelled_anywhere_is_completed_by_sending_it_again(tmp_path: Path) -> None:
    """L7, C1: a client that goes away in the middle leaves each command done or not done, and nothing hanging."""
    api = make_api(make_app(f"sqlite:///{tmp_path}/shop.db"))
    async with client_of(api) as client:
        source, target = [
            (await client.post("/accounts", json={"owner": name})).json()["account_id"] for name in ("Ada", "Bob")
        ]
        await client.post(f"/accounts/{source}/moves", json={"amount": 100})
        transfer = partial(client.post, f"/transfers/{source}/{target}", json={"balance": 1})
        for steps in range(30):
            headers = {"Idempotency-Key": f"transfer {steps}", "If-Match": "*"}
            async with anyio.create_task_group() as group:
                group.start_soon(partial(transfer, headers=headers))
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            with anyio.fail_after(5):
                done = await transfer(headers=headers)
            assert done.status_code == 204
        after = {"Diptych-After": done.headers["Diptych-Position"]}
        for account, balance in ((source, 70), (target, 30)):
            assert (await client.get(f"/accounts/{account}", headers=after)).json()["balance"] == balance
