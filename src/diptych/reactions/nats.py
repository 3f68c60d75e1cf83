"""NATS JetStream: messages go out under their id, and come in until they are acknowledged.

What is kept by a stream with three replicas and `sync_interval: always` outlives the leader, and a power cut.
Source: https://docs.nats.io/nats-concepts/jetstream (deduplication by Nats-Msg-Id, pull consumers).
Rule: the only file that imports nats; no error of it leaves.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from diptych.errors import PublishError
from diptych.reactions.messages import CONTENT_TYPE, IntegrationMessage, encode
from diptych.reactions.publisher import chains_of
from diptych.reactions.source import Incoming

_log: Final = logging.getLogger("diptych.nats")
_AWAY: Final = (nats.errors.Error, OSError, TimeoutError, asyncio.InvalidStateError)
_NO_TOKEN: Final = re.compile(r"[^A-Za-z0-9_.-]")
_AT_ONCE: Final = 256  # keys


class _PurgedError(nats.errors.Error):
    """The broker confirms what it does not have."""


class JetStream(NamedTuple):
    """A stream of the broker. It is made if it is not there, and never changed.

    `duplicate_window` is in seconds: so long the broker itself drops a message that it has. With `replicas=3` on a
    cluster, and `sync_interval: always` in the servers' configuration, what was confirmed is not lost.
    """

    name: str
    prefix: str
    replicas: int = 1
    duplicate_window: float = 120.0


def subject_of(prefix: str, message: IntegrationMessage) -> str:
    """Return where a message goes: `shop.order.placed.v1.417`, the prefix, its type, and the slice of its stream."""
    name = ".".join(filter(None, _NO_TOKEN.sub("_", message.type).split(".")))
    return f"{prefix}.{name}.{message.slice}"


class _Connection:
    """A connection that is made when it is needed, and again after it was lost."""

    def __init__(self, servers: str | Sequence[str], seconds: float, options: dict[str, Any]) -> None:
        self._servers = [servers] if isinstance(servers, str) else list(servers)
        self._seconds, self._options = seconds, options
        self._client: Client | None = None
        self._turn = asyncio.Lock()

    async def jetstream(self) -> JetStreamContext:
        """Return a context that is connected. :raises PublishError: nobody answers."""
        async with self._turn:
            if self._client is None or self._client.is_closed:
                client = Client()
                quiet: dict[str, Any] = {"error_cb": _heard, "allow_reconnect": True, "max_reconnect_attempts": -1}
                quick: dict[str, Any] = {"connect_timeout": 2, "reconnect_time_wait": 0.1, "ping_interval": 5}
                try:
                    async with asyncio.timeout(self._seconds):
                        await client.connect(self._servers, **{**quiet, **quick, **self._options})
                    self._client = client
                except _AWAY as error:
                    raise PublishError("NATS", _why(error)) from error
                finally:
                    if self._client is not client:  # half of it may be there
                        await client.close()
            return self._client.jetstream(timeout=5)

    @property
    def is_up(self) -> bool:
        """Whether a server is at its other end."""
        return self._client is not None and self._client.is_connected

    async def close(self) -> None:
        """Let go of it."""
        client, self._client = self._client, None
        if client is not None and not client.is_closed:
            with suppress(*_AWAY):  # it may be waiting for a broker that is away
                async with asyncio.timeout(self._seconds):
                    await client.close()


class NatsPublisher:
    """Publishes to JetStream; `Nats-Msg-Id` is the message's source, type and id.

    Messages of different keys are on their way at the same time.

    Of one key the next goes out when the one before was confirmed: a leader that fails loses no message of the middle,
    so that the first copies of all messages stand in the order of their stream (D1).
    """

    def __init__(
        self, servers: str | Sequence[str], stream: JetStream, *, seconds: float = 5.0, **options: Any
    ) -> None:
        """`seconds`: how long a confirmation may take; `options` go to `nats.connect` (user, password, tls ...)."""
        self._connection = _Connection(servers, seconds, options)
        self._stream, self._seconds, self._is_made = stream, seconds, False

    @property
    def address(self) -> str:
        """The subjects that it publishes to."""
        return f"{self._stream.prefix}.>"

    async def open(self) -> None:
        """Do nothing: it connects with the first messages, and may then wait for the broker."""

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()

    async def publish(self, messages: Sequence[IntegrationMessage]) -> None:
        """Return when the broker has all of them. :raises PublishError: and nothing may be assumed of any of them."""
        if not messages:
            return
        context = await self._connection.jetstream()
        try:
            await self._publish(context, messages)
        except PublishError:
            self._is_made = False  # it may be gone: a broker may be wiped
            raise

    async def _publish(self, context: JetStreamContext, messages: Sequence[IntegrationMessage]) -> None:
        try:
            if not self._is_made:
                await ensure(context, self._stream)
                self._is_made = True
            chains = chains_of(messages)
            for first in range(0, len(chains), _AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    for chain in chains[first : first + _AT_ONCE]:
                        group.create_task(self._send(context, chain))
        except _AWAY as error:
            raise PublishError("NATS", _why(error)) from error
        except ExceptionGroup as errors:
            if errors.split(_AWAY)[1] is not None:
                raise
            raise PublishError("NATS", _why(errors)) from errors

    async def _send(self, context: JetStreamContext, chain: Sequence[IntegrationMessage]) -> None:
        for message in chain:
            subject = subject_of(self._stream.prefix, message)
            headers = {"Nats-Msg-Id": message.known_by, "Content-Type": CONTENT_TYPE}
            told = await context.publish(
                subject, encode(message), timeout=self._seconds, stream=self._stream.name, headers=headers
            )
            if told.duplicate:
                await self._check(context, told.seq)

    async def _check(self, context: JetStreamContext, at: int) -> None:
        """Ask for what the broker says it has: a stream that was purged goes on to drop what it had."""
        info = await context.stream_info(self._stream.name)
        if info.config.retention == RetentionPolicy.LIMITS and at < info.state.first_seq:
            raise _PurgedError(
                f"{self._stream.name} was purged, and drops until its duplicate_window is over what it had before"
            )


class NatsSource:
    """Takes messages from a durable pull consumer of a stream; it is made if it is not there.

    A message that is not acknowledged comes again, before all newer ones: who begins while another has messages in hand
    waits until the broker counts those as not taken. One process at a time, or the order of a key is nobody's.
    """

    def __init__(
        self,
        servers: str | Sequence[str],
        stream: str,
        *,
        durable: str,
        subject: str = "",
        seconds: float = 5.0,
        redelivered_after: float = 5.0,
        **options: Any,
    ) -> None:
        """`subject` chooses of the stream: `shop.shop.order.>`; `options` go to `nats.connect`.

        `redelivered_after` is in seconds: so long the broker waits for an acknowledgement, if the consumer is new.
        """
        self._connection = _Connection(servers, seconds, options)
        self._stream, self._durable, self._subject = stream, durable, subject
        self._subscription: JetStreamContext.PullSubscription | None = None
        self._out: dict[int, Msg] = {}
        self._ack_wait, self._not_before = redelivered_after, 0.0

    @property
    def address(self) -> str:
        """What it takes: subjects, or a whole stream."""
        return self._subject or self._stream

    async def open(self) -> None:
        """Do nothing: it connects when it is first asked for messages."""

    async def close(self) -> None:
        """Let go of the connection. What is not acknowledged goes to another: at once, if the broker hears it."""
        out, self._out, self._subscription = self._out, {}, None
        with suppress(*_AWAY):
            for each in out.values():
                await each.nak()
        await self._connection.close()

    async def fetch(self, most: int, seconds: float) -> Sequence[Incoming]:
        """Return the next messages, as soon as there is one. :raises PublishError: the broker is away."""
        try:
            subscription = self._subscription or await self._subscribe()
            early = self._not_before - asyncio.get_running_loop().time()
            if early > 0:
                await asyncio.sleep(min(early, seconds))
                return ()
            found = await self._found(subscription, most, seconds)
        except _AWAY as error:
            self._subscription = None
            raise PublishError("NATS", _why(error)) from error
        self._out.update((id(each), each) for each in found)
        return [Incoming((each.headers or {}).get("Nats-Msg-Id", ""), each.subject, each.data, each) for each in found]

    async def _found(self, subscription: JetStreamContext.PullSubscription, most: int, seconds: float) -> list[Msg]:
        try:
            return await subscription.fetch(most, timeout=seconds)
        except TimeoutError:
            if not self._connection.is_up:
                raise
            return []

    async def _subscribe(self) -> JetStreamContext.PullSubscription:
        context = await self._connection.jetstream()
        config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=self._ack_wait, max_ack_pending=1000)
        subscription = await context.pull_subscribe(
            self._subject, durable=self._durable, stream=self._stream, config=config
        )
        info = await subscription.consumer_info()
        if (taken := info.config.filter_subject or "") != self._subject:  # it is there, and is never changed
            await subscription.unsubscribe()
            raise PublishError("NATS", f"the consumer {self._durable} of {self._stream} {_other(taken, self._subject)}")
        if info.num_ack_pending:  # in the hands of one that may be dead; a second more, for the broker's own timer
            wait = (info.config.ack_wait or self._ack_wait) + 1
            self._not_before = asyncio.get_running_loop().time() + wait
        self._subscription = subscription
        return subscription

    async def done(self, incoming: Incoming) -> None:
        """Have it not come again. :raises PublishError: it may, for the broker is away."""
        try:
            await incoming.handle.ack_sync(timeout=5)
        except _AWAY as error:
            raise PublishError("NATS", _why(error)) from error
        finally:
            self._out.pop(id(incoming.handle), None)


async def ensure(context: JetStreamContext, stream: JetStream) -> None:
    """Make a stream if it is not there."""
    try:
        await context.stream_info(stream.name)
    except NotFoundError:
        await context.add_stream(
            StreamConfig(
                name=stream.name,
                subjects=[f"{stream.prefix}.>"],
                num_replicas=stream.replicas,
                duplicate_window=stream.duplicate_window,
                storage=StorageType.FILE,
            )
        )


async def _heard(error: Exception) -> None:
    _log.debug("NATS: %r", error)


def _other(taken: str, wanted: str) -> str:
    return (
        f"takes {taken or 'all subjects'} and not {wanted or 'all'}, so that what is wanted would never come. "
        "Delete that consumer, or give this source another durable name"
    )


def _why(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return _why(error.exceptions[0])
    return f"{type(error).__name__}: {error}"
