"""Sources hand a message out until it is done: NATS with a real server, Kafka with a peer that speaks its protocol."""

from collections.abc import Iterator
from itertools import count

import pytest

from diptych.errors import PublishError
from diptych.reactions.kafka import KafkaPublisher, KafkaSource
from diptych.reactions.messages import IntegrationMessage, decode
from diptych.reactions.nats import JetStream, NatsPublisher, NatsSource
from diptych.reactions.publisher import Publisher
from diptych.reactions.source import Incoming, Source
from diptych.testing.contracts.publishers import message
from tests.kafka_peer import kafka_peer
from tests.nats_servers import one_server

pytestmark = pytest.mark.anyio

_numbers = count(1)
Pair = tuple[Publisher, list[Source]]


@pytest.fixture(params=["nats", "kafka"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A publisher, and two sources that share its messages, the second for after the first."""
    number = next(_numbers)
    if request.param == "nats":
        with one_server() as server:
            stream = JetStream(f"S{number}", f"s{number}")
            sources: list[Source] = [
                NatsSource(server.url, stream.name, durable="d", redelivered_after=1.0) for _ in range(2)
            ]
            yield NatsPublisher(server.url, stream), sources
    else:
        with kafka_peer() as brokers:
            sources = [KafkaSource(brokers, f"t{number}", group="g") for _ in range(2)]
            yield KafkaPublisher(brokers, f"t{number}"), sources


async def test_what_is_done_does_not_come_again_and_what_is_not_does_not_get_lost(pair: Pair) -> None:
    """D2"""
    publisher, (first, second) = pair
    sent = [message("a", number) for number in range(1, 11)]
    await publisher.publish(sent)
    found = await _all(first, 10)
    assert [decode(each.raw) for each in found] == sent
    for each in found:
        await first.done(each)
    await publisher.publish([message("a", 11)])
    (last,) = await _all(first, 1)
    assert decode(last.raw).position == 11
    await first.close()  # not done: it goes to another
    assert [decode(each.raw).position for each in await _all(second, 1)] == [11]
    await second.close()
    await publisher.close()


async def _all(source: Source, wanted: int) -> list[Incoming]:
    found: list[Incoming] = []
    for _ in range(100):
        found += await source.fetch(100, 1.0)
        if len(found) >= wanted:
            break
    return found


@pytest.mark.parametrize(
    "publisher",
    [
        NatsPublisher("nats://127.0.0.1:9", JetStream("S", "s"), seconds=0.5),
        KafkaPublisher("127.0.0.1:9", "t", seconds=0.5),
    ],
    ids=["nats", "kafka"],
)
async def test_a_broker_that_is_not_there_is_a_typed_error(publisher: Publisher) -> None:
    """D3"""
    sent: list[IntegrationMessage] = [message("a", 1)]
    with pytest.raises(PublishError, match="did not confirm"):
        await publisher.publish(sent)
    await publisher.close()


async def test_a_source_without_its_broker_says_so() -> None:
    for source in (
        NatsSource("nats://127.0.0.1:9", "S", durable="d", seconds=0.5),
        KafkaSource("127.0.0.1:9", "t", group="g"),
    ):
        with pytest.raises(PublishError):
            await source.fetch(1, 0.1)
        await source.close()
