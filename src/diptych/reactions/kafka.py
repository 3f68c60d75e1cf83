"""Kafka: messages go out by an idempotent producer, and come in until the consumer's offset is past them.

Source: https://kafka.apache.org/documentation/#producerconfigs_enable.idempotence
Rule: the only file that imports aiokafka; no error of it leaves.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from diptych.errors import PublishError
from diptych.reactions.messages import CONTENT_TYPE, IntegrationMessage, encode
from diptych.reactions.publisher import chains_of
from diptych.reactions.source import Incoming
from diptych.subscriptions.apart import heard

_AWAY: Final = (KafkaError, OSError, TimeoutError)
_ANSWER: Final = 5.0  # seconds; a driver that waits for brokers that are away says nothing
_LOOK: Final = 5.0  # seconds without a message to the next question whether the brokers are there
_HEADERS: Final = [("content-type", CONTENT_TYPE.encode())]


class KafkaPublisher:
    """Publishes to one topic; the key is the stream, so that the messages of one are in one partition, in order (D1).

    Of one key the next goes out when the one before was confirmed, others at the same time. The producer is idempotent,
    which keeps what it sends again in its place; but it numbers messages when it sends them, so that one that expired
    before leaves no gap that a broker would see.
    `acks=all`; with `min.insync.replicas=2` and three replicas what was confirmed outlives a broker.
    """

    def __init__(self, servers: str | Sequence[str], topic: str, *, seconds: float = 10.0, **options: Any) -> None:
        """`seconds`: how long a confirmation may take; `options` go to `AIOKafkaProducer` (security_protocol ...)."""
        self._servers, self._topic, self._seconds = servers, topic, seconds
        self._options = options
        self._producer: AIOKafkaProducer | None = None
        self._turn = asyncio.Lock()

    @property
    def address(self) -> str:
        """The topic."""
        return self._topic

    async def open(self) -> None:
        """Do nothing: it connects with the first messages, and may then wait for the broker."""

    async def close(self) -> None:
        """Let go of the connections."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)

    async def publish(self, messages: Sequence[IntegrationMessage]) -> None:
        """Return when the brokers have all of them. :raises PublishError: and nothing may be assumed of any of them."""
        if not messages:
            return
        try:
            producer = await self._connected()
            async with asyncio.TaskGroup() as group:
                for chain in chains_of(messages):
                    group.create_task(self._send(producer, chain))
        except _AWAY as error:
            raise PublishError("Kafka", _why(error)) from error
        except ExceptionGroup as errors:
            if self._producer is producer:
                self._producer = None  # another one begins anew
            await _stop(producer)
            if errors.split(_AWAY)[1] is not None:
                raise
            raise PublishError("Kafka", _why(errors.exceptions[0])) from errors

    async def _send(self, producer: AIOKafkaProducer, chain: Sequence[IntegrationMessage]) -> None:
        for each in chain:
            async with asyncio.timeout(self._seconds):
                sent = await producer.send(self._topic, encode(each), key=each.key.encode(), headers=_HEADERS)
                await sent

    async def _connected(self) -> AIOKafkaProducer:
        async with self._turn:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._servers,
                    enable_idempotence=True,
                    acks="all",
                    request_timeout_ms=int(self._seconds * 1000),
                    **self._options,
                )
                try:
                    async with asyncio.timeout(self._seconds):
                        await producer.start()
                except BaseException:
                    await _stop(producer)
                    raise
                self._producer = producer
            return self._producer


class KafkaSource:
    """Takes messages of one topic as a member of a consumer group; their place is committed when they are done."""

    def __init__(self, servers: str | Sequence[str], topic: str, *, group: str, **options: Any) -> None:
        """`options` go to `AIOKafkaConsumer`."""
        self._servers, self._topic, self._group, self._options = servers, topic, group, options
        self._consumer: AIOKafkaConsumer | None = None
        self._out: set[tuple[TopicPartition, int]] = set()
        self._ends: dict[TopicPartition, int] = {}
        self._heard_at = 0.0

    @property
    def address(self) -> str:
        """The topic."""
        return self._topic

    async def open(self) -> None:
        """Do nothing: it connects when it is first asked for messages."""

    async def close(self) -> None:
        """Let go of the connections. What is not done is handed out again, here or elsewhere."""
        consumer, self._consumer = self._consumer, None
        self._out.clear()
        self._ends.clear()
        if consumer is not None:
            await _stop(consumer)

    async def fetch(self, most: int, seconds: float) -> Sequence[Incoming]:
        """Return the next messages, as soon as there is one. :raises PublishError: the brokers are away."""
        try:
            consumer = await self._connected()
            found = await consumer.getmany(timeout_ms=int(seconds * 1000), max_records=most)
            await self._hear(consumer, is_quiet=not found)
        except _AWAY as error:
            await self.close()
            raise PublishError("Kafka", _why(error)) from error
        incoming = []
        for partition, records in found.items():
            for record in records:
                place = (partition, record.offset)
                self._out.add(place)
                self._ends[partition] = record.offset + 1
                named = f"{record.topic}/{record.partition}/{record.offset}"
                incoming.append(Incoming(named, named, record.value or b"", place))
        return incoming

    async def _hear(self, consumer: AIOKafkaConsumer, *, is_quiet: bool) -> None:
        """Ask now and then, where no message comes, whether there are brokers: the driver waits for them in silence."""
        now = asyncio.get_running_loop().time()
        if is_quiet and now >= self._heard_at + _LOOK:
            async with asyncio.timeout(_ANSWER):
                await consumer.end_offsets(consumer.assignment())
            is_quiet = False
        if not is_quiet:
            self._heard_at = now

    async def done(self, incoming: Incoming) -> None:
        """Note it; with the last of those that were handed out, their place is committed.

        :raises PublishError: the brokers are away, and they come again: it begins anew at the place they have.
        """
        self._out.discard(incoming.handle)
        if self._out or self._consumer is None or not self._ends:
            return
        ends, self._ends = self._ends, {}
        try:
            async with asyncio.timeout(_ANSWER):
                await self._consumer.commit(ends)
        except _AWAY as error:
            await self.close()
            raise PublishError("Kafka", _why(error)) from error

    async def _connected(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                self._topic,
                bootstrap_servers=self._servers,
                group_id=self._group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                **self._options,
            )
            try:
                async with asyncio.timeout(10):
                    await consumer.start()
            except BaseException:
                await _stop(consumer)
                raise
            self._consumer, self._heard_at = consumer, asyncio.get_running_loop().time()
        return self._consumer


async def _stop(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Let go of a client, which may wait for brokers that are away: then it ends with what it still has.

    Apart: the driver cancels what it then awaits, and whoever awaits the driver would take that for his own end.
    """
    stopping = asyncio.ensure_future(client.stop())
    stopping.add_done_callback(heard)
    await asyncio.wait((stopping,), timeout=2)
    if stopping.done() and not stopping.cancelled() and stopping.exception() is None:
        return
    stopping.cancel()
    with suppress(*_AWAY):
        if isinstance(client, AIOKafkaProducer):
            await _end_sender(client)
        async with asyncio.timeout(2):
            await client._client.close() if isinstance(client, AIOKafkaConsumer) else await client.client.close()


async def _end_sender(producer: AIOKafkaProducer) -> None:
    """End what sends in the background. The driver has no word for it: it would try until the brokers are back."""
    sender = producer._sender
    if sender is not None and sender.sender_task is not None:
        sender.sender_task.cancel()
        await asyncio.wait([sender.sender_task], timeout=2)


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")
