"""The publishers keep their contract: in memory, NATS with a real server, and Kafka with a peer that speaks it."""

from collections.abc import Iterator, Sequence
from itertools import count

import nats
import pytest
from aiokafka import AIOKafkaConsumer

from diptych.reactions.kafka import KafkaPublisher
from diptych.reactions.messages import IntegrationMessage, decode
from diptych.reactions.nats import JetStream, NatsPublisher
from diptych.reactions.publisher import MemoryPublisher, Publisher
from diptych.testing.contracts.publishers import PublisherContract, Received
from tests.kafka_peer import kafka_peer
from tests.nats_servers import NatsServer, one_server

_numbers = count(1)


class TestMemoryPublisher(PublisherContract):
    """A list."""

    @pytest.fixture
    def publisher(self) -> MemoryPublisher:
        """One for each test."""
        return MemoryPublisher()

    @pytest.fixture
    def received(self, publisher: MemoryPublisher) -> Received:
        """What is in the list."""

        async def found() -> Sequence[IntegrationMessage]:
            return publisher.messages

        return found


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    """One server for all tests of the module."""
    with one_server() as server:
        yield server


class TestNatsPublisher(PublisherContract):
    """JetStream, on a server of its own, each test with a stream of its own."""

    @pytest.fixture
    def stream(self) -> JetStream:
        """A new stream."""
        name = f"shop_{next(_numbers)}"
        return JetStream(name.upper(), name)

    @pytest.fixture
    def publisher(self, server: NatsServer, stream: JetStream) -> Publisher:
        """A publisher to it."""
        return NatsPublisher(server.url, stream)

    @pytest.fixture
    def received(self, server: NatsServer, stream: JetStream) -> Received:
        """What the stream has."""

        async def found() -> Sequence[IntegrationMessage]:
            return await all_of(server.url, stream.name)

        return found


@pytest.fixture(scope="module")
def brokers() -> Iterator[Sequence[str]]:
    """Brokers for all tests of the module."""
    with kafka_peer() as found:
        yield found


class TestKafkaPublisher(PublisherContract):
    """Kafka's protocol, each test with a topic of its own."""

    @pytest.fixture
    def topic(self) -> str:
        """A new topic."""
        return f"shop-{next(_numbers)}"

    @pytest.fixture
    def publisher(self, brokers: Sequence[str], topic: str) -> Publisher:
        """A publisher to it."""
        return KafkaPublisher(brokers, topic)

    @pytest.fixture
    def received(self, brokers: Sequence[str], topic: str) -> Received:
        """What the topic has."""

        async def found() -> Sequence[IntegrationMessage]:
            consumer = AIOKafkaConsumer(topic, bootstrap_servers=brokers, auto_offset_reset="earliest")
            await consumer.start()
            messages: list[IntegrationMessage] = []
            while pages := await consumer.getmany(timeout_ms=300):
                messages += [decode(each.value) for page in pages.values() for each in page]
            await consumer.stop()
            return messages

        return found


async def all_of(url: str | list[str], stream: str) -> list[IntegrationMessage]:
    """Every message of a stream, in its order."""
    client = await nats.connect(url)
    try:
        context = client.jetstream()
        try:
            state = (await context.stream_info(stream)).state
        except nats.js.errors.NotFoundError:
            return []
        sequences = range(state.first_seq, state.last_seq + 1) if state.messages else ()
        return [decode((await context.get_msg(stream, each)).data or b"") for each in sequences]
    finally:
        await client.close()
