"""Kafka in trouble: a message in the middle is refused, and confirmations do not come."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from diptych.errors import PublishError
from diptych.reactions.kafka import KafkaPublisher, KafkaSource
from diptych.reactions.messages import decode
from diptych.reactions.source import Incoming
from diptych.testing.contracts.publishers import message
from tests.kafka_peer import kafka_peer

pytestmark = pytest.mark.anyio


@pytest.fixture
def brokers() -> Iterator[Sequence[str]]:
    """Brokers of the test's own."""
    with kafka_peer() as found:
        yield found


async def test_when_one_of_a_key_fails_none_after_it_goes_out(
    brokers: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1: the producer numbers what it sends, so that one that was never sent leaves no gap that a broker would see."""
    send, faults = AIOKafkaProducer.send, ["the batch expired"]

    async def failing(producer: AIOKafkaProducer, topic: str, value: bytes, **options: Any) -> Any:
        if decode(value).position == 3 and faults:
            refused = asyncio.get_running_loop().create_future()
            refused.set_exception(KafkaError(faults.pop()))
            return refused
        return await send(producer, topic, value, **options)

    monkeypatch.setattr(AIOKafkaProducer, "send", failing)
    publisher, source = KafkaPublisher(brokers, "t"), KafkaSource(brokers, "t", group="g")
    sent = [message("a", number) for number in range(1, 8)]
    with pytest.raises(PublishError, match="the batch expired"):
        await publisher.publish(sent)
    await publisher.publish(sent)
    found: list[int] = []
    for _ in range(20):
        found += [decode(each.raw).position for each in await source.fetch(100, 1.0)]
        if 7 in found:
            break
    assert list(dict.fromkeys(found)) == [1, 2, 3, 4, 5, 6, 7]
    await source.close()
    await publisher.close()


async def test_a_confirmation_that_does_not_come_is_an_error_and_leaves_nothing_running(
    brokers: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """D3: and what the producer still holds does not go out later, between others."""

    async def silent(producer: AIOKafkaProducer, topic: str, value: bytes, **options: Any) -> Any:
        return asyncio.get_running_loop().create_future()

    before = asyncio.all_tasks()
    publisher = KafkaPublisher(brokers, "t", seconds=2.0)
    with monkeypatch.context() as patched:
        patched.setattr(AIOKafkaProducer, "send", silent)
        with pytest.raises(PublishError, match="Kafka did not confirm"):
            await publisher.publish([message("a", 1)])
    await publisher.publish([message("a", 1)])
    await publisher.close()
    assert asyncio.all_tasks() == before


async def test_a_source_whose_brokers_went_away_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message and no broker are two things: the inbox was said to be caught up."""
    monkeypatch.setattr("diptych.reactions.kafka._LOOK", 0.0)
    monkeypatch.setattr("diptych.reactions.kafka._ANSWER", 1.0)
    with ExitStack() as stack:
        brokers = stack.enter_context(kafka_peer(1))
        publisher, source = KafkaPublisher(brokers, "t"), KafkaSource(brokers, "t", group="g")
        await publisher.publish([message("a", 1)])
        await publisher.close()
        (first,) = await all_of(source, 1)
        await source.done(first)
        assert list(await source.fetch(100, 0.1)) == []
        stack.pop_all().close()
        with pytest.raises(PublishError, match="Kafka"):
            await all_of(source, 1)
        await source.close()


async def test_an_acknowledgement_without_an_answer_is_told_and_begun_anew(
    brokers: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1: all stood, in silence. What was not acknowledged comes again to who connects again, here at once."""
    monkeypatch.setattr("diptych.reactions.kafka._ANSWER", 0.5)
    publisher, source = KafkaPublisher(brokers, "t"), KafkaSource(brokers, "t", group="g")
    await publisher.publish([message("a", 1)])
    await publisher.close()
    (first,) = await all_of(source, 1)
    consumer = source._consumer

    async def silent(consumer: AIOKafkaConsumer, offsets: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AIOKafkaConsumer, "commit", silent)
    with pytest.raises(PublishError, match="TimeoutError"):
        await source.done(first)
    assert consumer is not None
    assert consumer._closed
    assert source._consumer is None


async def all_of(source: KafkaSource, wanted: int) -> list[Incoming]:
    """What comes, until there is so much."""
    found: list[Incoming] = []
    for _ in range(100):
        found += await source.fetch(100, 0.3)
        if len(found) >= wanted:
            break
    return found
