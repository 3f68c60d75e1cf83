"""One command's work: the aggregates it loaded, and what of them is to be stored.

Rule: nothing is written before the handler has returned, and then all of it in one append.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple
from uuid import UUID

from diptych.errors import ConflictError, InvalidInputError, ProgrammingError, WrongExpectedVersionError
from diptych.events.codec import Codec
from diptych.events.recorded import NewEvent, StoredEvent
from diptych.events.rows import end_of
from diptych.messages import Envelope
from diptych.store.protocols import EventStore, StreamWrite
from diptych.stream import NO_STREAM, StreamName
from diptych.write import guard
from diptych.write.aggregate import Aggregate, mark_stored, pending, reopen, replay, seal
from diptych.write.cache import AggregateCache, Cached, Key
from diptych.write.queues import Queues


class WriteSide(NamedTuple):
    """What every command of an app shares."""

    store: EventStore
    codec: Codec
    cache: AggregateCache
    queues: Queues
    is_guarded: bool = False  # development and tests: see guard.py


class UnitOfWork:
    """Collects what one command's aggregates record. Current for the time its handler runs."""

    __slots__ = (
        "_before", "_held", "_is_expectation_met", "_is_queued", "_loaded", "_writes",
        "command", "envelope", "event_id", "expected", "has_dispatched", "is_over", "parent", "position", "recorded",
        "side",
    )  # fmt: skip

    def __init__(self, side: WriteSide, envelope: Envelope, expected: Mapping[UUID, int] | int | None = None) -> None:
        self.side, self.envelope, self.expected = side, envelope, expected
        self.position, self.event_id = 0, b""
        self.parent: UnitOfWork | None = None
        self.command: Any = None
        self.has_dispatched = self.is_over = False
        self.recorded: list[Aggregate] = []  # only in development
        self._loaded: dict[Key, Cached] = {}
        self._before: dict[Key, dict[str, Any]] = {}
        self._writes: list[StreamWrite] = []
        self._held: Key | None = None
        self._is_queued = self._is_expectation_met = False

    async def load(self, cls: type[Aggregate], id: UUID) -> Aggregate | None:
        """Return the aggregate as it is in the log now, or None; the same object every time in one command."""
        key = _key(self.envelope.tenant, cls.aggregate_name, id)
        cached = self._loaded.get(key)
        if cached is None:
            stream = StreamName(self.envelope.tenant, cls.aggregate_name, id)
            if not self._is_queued:
                await self._queue(key, stream)
            cached = await self._read(cls, key, stream)
            self.refuse_late()
            self._loaded[key] = cached
            if cached.position > self.position:
                self.position, self.event_id = cached.position, cached.event_id
            if self.expected is not None:
                self._expect(stream, cached.aggregate.version)
            if self.side.is_guarded:
                self._before[key] = guard.snapshot(cached.aggregate)
        return cached.aggregate if cached.aggregate.version or pending(cached.aggregate) else None

    def add(self, aggregate: Aggregate) -> None:
        """Take a new aggregate in. :raises ConflictError: one with this id is there already."""
        stream = StreamName(self.envelope.tenant, aggregate.aggregate_name, aggregate.id)
        key = _key(stream.tenant, stream.category, stream.id)
        known = self._loaded.get(key)
        if known is not None and known.aggregate is not aggregate:
            if known.aggregate.version or pending(known.aggregate):
                raise ConflictError(f"{aggregate.aggregate_name} {aggregate.id} exists already. Load it instead.")
            self._before.pop(key, None)
        if known is None and self.expected is not None:
            self._expect(stream, 0)
        self._loaded[key] = Cached(aggregate, stream, 0, b"")

    async def _read(self, cls: type[Aggregate], key: Key, stream: StreamName) -> Cached:
        """Load from the cache, checked against the log by its newest event, or from the log alone."""
        store = self.side.store
        cached = self.side.cache.take(key, cls)
        if cached is not None:
            rows = await store.read_stream(stream, first=cached.aggregate.version)
            if rows and rows[0].event_id == cached.event_id:
                reopen(cached.aggregate)
                return self._fold(cached, rows[1:]) if len(rows) > 1 else cached
        return self._fold(Cached(cls(stream.id), stream, 0, b""), await store.read_stream(stream))

    def _fold(self, cached: Cached, rows: Sequence[StoredEvent]) -> Cached:
        if not rows:
            return cached
        replay(cached.aggregate, self.side.codec.decode_each(rows))
        return Cached(cached.aggregate, cached.stream, *end_of(rows))

    async def _queue(self, key: Key, stream: StreamName) -> None:
        """Wait for our turn at the first aggregate. A nested command does not: two could wait for each other."""
        self._is_queued = True
        outer = self.parent
        while outer is not None:
            if key in outer._loaded:
                raise ProgrammingError(
                    f"{stream} is loaded by a command whose handler waits for this one. "
                    "Do both in one handler, or dispatch the second after the first."
                )
            outer = outer.parent
        if self.parent is None:
            await self.side.queues.enter(key)
            self._held = key
            if self.is_over:
                self.release()
                self.refuse_late()

    def refuse_late(self) -> None:
        """:raises ProgrammingError: the handler has returned, so that nothing of this would be stored."""
        if self.is_over:
            raise ProgrammingError(
                "A repository was used after its command's handler had returned. Await in the handler what it starts."
            )

    def _expect(self, stream: StreamName, actual: int) -> None:
        """Hold the caller's own expectation (If-Match) against the first aggregate, or against those it names."""
        expected = self.expected.get(stream.id) if isinstance(self.expected, Mapping) else self.expected
        if isinstance(expected, int) and self._is_expectation_met and not isinstance(self.expected, Mapping):
            return
        self._is_expectation_met = True
        if expected is not None and expected != actual:
            raise WrongExpectedVersionError(stream, expected, actual)

    def _refuse_unchecked(self) -> None:
        """:raises InvalidInputError: the caller expects a version of something that the handler never loaded."""
        if self.expected is None:
            return
        loaded = {cached.stream.id for cached in self._loaded.values()}
        if not loaded.issuperset(self.expected) if isinstance(self.expected, Mapping) else not loaded:
            raise InvalidInputError(
                f"{type(self.command).__name__} came with a version that its caller has seen, and its handler did not "
                "load what that is of, so nothing would hold it. Send it without (If-Match, expected)."
            )

    def writes(self) -> Sequence[StreamWrite]:
        """Return what is to be stored. Aggregates that were only read are guards: the decision rests on them too."""
        self._refuse_unchecked()
        if self.side.is_guarded:
            guard.check_added(self.recorded, [cached.aggregate for cached in self._loaded.values()])
        encode, verify = self.side.codec.encode, self.side.codec.verify
        has_events = False
        self._writes = []
        for key, cached in self._loaded.items():
            aggregate = cached.aggregate
            if self.side.is_guarded:
                before = self._before.get(key)
                guard.check(aggregate, guard.snapshot(type(aggregate)(aggregate.id)) if before is None else before)
            events: list[NewEvent] = [encode(event) for event in seal(aggregate)]
            if self.side.is_guarded:
                for event, written in zip(pending(aggregate), events, strict=True):
                    verify(event, written)
            has_events = has_events or bool(events)
            self._writes.append(StreamWrite(cached.stream, aggregate.version or NO_STREAM, events))
        return self._writes if has_events else ()

    def metadata(self) -> str:
        """Return what is written beside each event, as JSON text; a conversation that begins here is not named."""
        envelope = self.envelope
        more = f',"correlation":"{envelope.correlation_id}"' if envelope.correlation_id is not None else ""
        if envelope.causation_id is not None:
            more += f',"cause":"{envelope.causation_id}"'
        if envelope.user_id is not None:
            more += f',"user":{json.dumps(envelope.user_id)}'
        return f'{{"command":"{envelope.command_id}"{more}}}'

    def stored(self, position: int, versions: Sequence[int]) -> Mapping[StreamName, int]:
        """Put the aggregates back in the cache, after the commit is confirmed, and return the streams written.

        `position` is of the last event, `versions` are those of the streams that got events, in their order.
        """
        streams: dict[StreamName, int] = {}
        ends = list(versions)
        for (key, known), write in zip(reversed(self._loaded.items()), reversed(self._writes), strict=True):
            if write.events:
                version = streams[write.stream] = ends.pop()
                mark_stored(known.aggregate, version)
                event_id = write.events[-1].event_id
                known = Cached(known.aggregate, known.stream, position, event_id)  # noqa: PLW2901 - further on
                position -= len(write.events)
            self.side.cache.put(key, known)
        return streams

    def unchanged(self) -> None:
        """Put the aggregates back in the cache of a command that recorded nothing."""
        for key, cached in self._loaded.items():
            self.side.cache.put(key, cached)

    def release(self) -> None:
        """Let the next command of this process at the aggregate that was loaded first."""
        if self._held is not None:
            self.side.queues.leave(self._held)
            self._held = None


def _key(tenant: str, category: str, id: UUID) -> Key:
    try:
        return tenant, category, id.int
    except AttributeError:
        raise ProgrammingError(
            f"{category}: {id!r} is no UUID, as the id of an aggregate is. Write UUID(...), or make one of a name of "
            f'yours: id_for("{category.lower()}", ...).'
        ) from None


_current: ContextVar[UnitOfWork | None] = ContextVar("diptych_unit_of_work", default=None)


def enclosing() -> UnitOfWork | None:
    """Return the command whose handler is running here, or None."""
    return _current.get()


def is_unguarded() -> bool:
    """Whether a command of an app in production mode is being handled here."""
    work = _current.get()
    return work is not None and not work.side.is_guarded


def note(aggregate: Aggregate) -> None:
    """Remember, in development, that an aggregate recorded something while this command was handled."""
    work = _current.get()
    if work is not None and work.side.is_guarded:
        work.recorded.append(aggregate)


def current() -> UnitOfWork:
    """Return the command being handled. :raises ProgrammingError: none is."""
    work = _current.get()
    if work is None:
        raise ProgrammingError(
            "A repository works inside a command handler only. Dispatch a command; to answer a query, "
            "read a read model (rule DP101)."
        )
    work.refuse_late()
    return work


def refuse_itself(command: Any, envelope: Envelope) -> None:
    """:raises ProgrammingError: a handler that is running here has this very command."""
    outer = _current.get()
    while outer is not None:
        if type(outer.command) is type(command) and outer.envelope.command_id == envelope.command_id:
            raise ProgrammingError(
                f"{type(command).__name__} {envelope.command_id} waits for itself: its handler sent it."
            )
        outer = outer.parent


async def run(work: UnitOfWork, handler: Callable[[Any], Awaitable[Any]], command: Any) -> Any:
    """Run a handler with this unit of work current. What it started and did not wait for gets nothing from it later."""
    outer = _current.get()
    work.command, work.parent = command, None if outer is None or outer.is_over else outer
    reset = _current.set(work)
    try:
        return await handler(command)
    finally:
        work.is_over = True
        _current.reset(reset)


def apart(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Have a query handler know of no command, whoever asks: a repository in it refuses, as everywhere (rule DP101)."""

    async def without(*arguments: Any, **named: Any) -> Any:
        reset = _current.set(None)
        try:
            return await handler(*arguments, **named)
        finally:
            _current.reset(reset)

    def called(*arguments: Any, **named: Any) -> Awaitable[Any]:
        return handler(*arguments, **named) if _current.get() is None else without(*arguments, **named)

    return called
