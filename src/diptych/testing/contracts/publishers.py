"""The contract of publishers: what has to hold for whatever broker is behind one.

Subclass `PublisherContract` and give it two fixtures: `publisher`, not open, and `received`, an async function that
returns all messages that the broker has, in its order, repetitions too.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from diptych.clock import id_for, new_id
from diptych.reactions.messages import IntegrationMessage
from diptych.reactions.publisher import Publisher

Received = Callable[[], Awaitable[Sequence[IntegrationMessage]]]

pytestmark = pytest.mark.anyio


def message(key: str, number: int, data: str = '{"a":1}') -> IntegrationMessage:
    """A message of a key. Its position tells its place among those of the key."""
    at = datetime(2026, 11, 28, 12, 0, 0, 123456, tzinfo=UTC)
    id = id_for("message", f"{key} {number}")
    return IntegrationMessage(id, "shop.order.placed.v1", "/shop", key, at, data, number, number % 1024, "", id, id)


class PublisherContract:
    """Everything a publisher promises."""

    pytestmark = pytest.mark.anyio

    async def test_messages_arrive_whole(self, publisher: Publisher, received: Received) -> None:
        """D1"""
        sent = [message("a", 1), message("b", 2, '{"text":"größer ☃ \\"quoted\\"","big":12345678901234567890}')]
        await publisher.open()
        await publisher.publish(sent)
        assert sorted(await received()) == sorted(sent)
        await publisher.close()

    async def test_messages_of_one_key_arrive_in_order(self, publisher: Publisher, received: Received) -> None:
        """D1: also over several batches."""
        sent = [message(f"key {number % 7}", number) for number in range(1, 141)]
        await publisher.open()
        for first in range(0, 140, 35):
            await publisher.publish(sent[first : first + 35])
        found = await received()
        for key in {each.key for each in sent}:
            mine = [each.position for each in found if each.key == key]
            assert mine == sorted(mine), key
        assert sorted(_once(found)) == sorted(sent)
        await publisher.close()

    async def test_a_batch_may_be_sent_again(self, publisher: Publisher, received: Received) -> None:
        """D2: who removes repetitions by their id sees each message once, and of each key in order."""
        sent = [message(f"key {number % 3}", number) for number in range(1, 31)]
        await publisher.open()
        await publisher.publish(sent[:20])
        await publisher.publish(sent)
        found = _once(await received())
        assert sorted(found) == sorted(sent)
        for key in {each.key for each in sent}:
            mine = [each.position for each in found if each.key == key]
            assert mine == sorted(mine), key
        await publisher.close()

    async def test_nothing_to_publish_is_no_harm(self, publisher: Publisher, received: Received) -> None:
        await publisher.open()
        await publisher.publish([])
        assert await received() == []
        await publisher.close()

    async def test_it_may_be_closed_twice_and_unused(self, publisher: Publisher) -> None:
        await publisher.open()
        await publisher.close()
        await publisher.close()

    async def test_large_data_goes_through(self, publisher: Publisher, received: Received) -> None:
        """As large as an event may be."""
        sent = [message(str(new_id()), 1, f'{{"text":"{"x" * 200_000}"}}')]
        await publisher.open()
        await publisher.publish(sent)
        assert await received() == sent
        await publisher.close()


def _once(messages: Sequence[IntegrationMessage]) -> list[IntegrationMessage]:
    seen: dict[UUID, IntegrationMessage] = {}
    for each in messages:
        seen.setdefault(each.id, each)
    return list(seen.values())
