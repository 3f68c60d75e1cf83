"""Publishing to a cluster whose leader is killed again and again: nothing lost, of each key in order (D1, D2)."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import Error

from diptych.clock import id_for
from diptych.errors import PublishError
from diptych.reactions.messages import IntegrationMessage, decode
from diptych.reactions.nats import JetStream, NatsPublisher
from tests.nats_servers import NatsCluster, NatsServer

T = TypeVar("T")

STREAM: Final = JetStream("SHOP", "shop", replicas=3)
_KEYS: Final = 20
_PATIENCE: Final = 60.0


class Published(NamedTuple):
    """What became of all that was published. `failed` batches were sent again."""

    messages: int
    copies: int
    kills: int
    failed: int


async def publish_under_kills(
    cluster: NatsCluster, rounds: int, random: Random, tell: Callable[[str], None] = print
) -> Published:
    """Publish while the leader of the stream is killed `rounds` times, then hold what is there against what was sent.

    :raises AssertionError: something is lost, or out of its order.
    """
    publisher = NatsPublisher(cluster.urls, STREAM, seconds=2.0)
    killing = asyncio.Event()
    sending = asyncio.create_task(_send(publisher, killing, random))
    kills = 0
    try:
        for number in range(rounds):
            victim = await _leader(cluster)
            await asyncio.sleep(random.uniform(0.2, 0.8))
            victim.kill()
            kills += 1
            await asyncio.sleep(random.uniform(0.1, 1.0))
            victim.start()
            await _until_whole(cluster)
            tell(f"{number + 1} leaders killed")
    finally:
        killing.set()
        sent, failed = await sending
        await publisher.close()
    found = await received(cluster.urls)
    judge(sent, found)
    return Published(len(sent), len(found), kills, failed)


async def _send(
    publisher: NatsPublisher, until: asyncio.Event, random: Random
) -> tuple[Sequence[IntegrationMessage], int]:
    sent, failed, at = list[IntegrationMessage](), 0, dict.fromkeys(range(_KEYS), 0)
    while not until.is_set():
        batch = []
        for _ in range(random.randint(1, 100)):
            key = random.randrange(_KEYS)
            at[key] += 1
            batch.append(message(f"order {key}", at[key]))
        sent += batch
        while True:
            try:
                await publisher.publish(batch)
                break
            except PublishError:
                failed += 1
                await asyncio.sleep(0.05)
    return sent, failed


def message(key: str, number: int) -> IntegrationMessage:
    """The message of a key with this number."""
    id = id_for("message", f"{key} {number}")
    return IntegrationMessage(
        id, "order.changed.v1", "/shop", key, datetime.now(UTC), f'{{"number":{number}}}', number, 7
    )


def judge(sent: Sequence[IntegrationMessage], found: Sequence[IntegrationMessage]) -> None:
    """Hold what arrived against what was confirmed. :raises AssertionError:"""
    first: dict[UUID, IntegrationMessage] = {}
    for each in found:
        first.setdefault(each.id, each)
    lost = [each for each in sent if each.id not in first]
    assert not lost, f"{len(lost)} of {len(sent)} confirmed messages are lost, the first is {lost[0]}"
    assert len(first) == len(sent), "there is more than was sent"
    last: dict[str, int] = {}
    for each in first.values():
        before = last.get(each.key)
        assert each.position == (before or 0) + 1, f"{each.key}: {each.position} came after {before}"
        last[each.key] = each.position


async def received(urls: Sequence[str]) -> list[IntegrationMessage]:
    """Return all messages of the stream, in its order."""
    client = await nats.connect(list(urls))
    try:
        subscription, count = await _answered(partial(_subscribed, client))
        found = list[IntegrationMessage]()
        while len(found) < count:
            for each in await subscription.fetch(min(500, count - len(found)), timeout=10):
                found.append(decode(each.data))
                await each.ack()
        return found
    finally:
        await client.close()


async def _subscribed(client: Client) -> tuple[JetStreamContext.PullSubscription, int]:
    """Return what gives the messages of the stream, and how many there are."""
    context = client.jetstream(timeout=5)
    subscription = await context.pull_subscribe("", stream=STREAM.name, durable="judge")
    return subscription, (await context.stream_info(STREAM.name)).state.messages


async def _leader(cluster: NatsCluster) -> NatsServer:
    """Return who leads the stream, once somebody does."""
    client = await nats.connect(cluster.urls)

    async def leader() -> str | None:
        info = (await client.jetstream(timeout=2).stream_info(STREAM.name)).cluster
        return None if info is None else info.leader

    try:
        return cluster.named(await _answered(leader))
    finally:
        await client.close()


async def _until_whole(cluster: NatsCluster) -> None:
    """Return when all servers are there: of two, the next kill would leave no majority."""

    async def is_whole() -> bool:
        return all([await asyncio.to_thread(server.is_ready) for server in cluster.servers])

    await _answered(is_whole)


async def _answered(ask: Callable[[], Awaitable[T | None]]) -> T:
    """Ask until something is answered: servers that have just started, or lost their leader, are slow."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        refused: Exception | None = None
        try:
            answer = await ask()
            if answer:
                return answer
        except (Error, nats.errors.Error) as error:
            refused = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"the cluster gave no answer in {_PATIENCE:g} s") from refused
        await asyncio.sleep(0.05)
