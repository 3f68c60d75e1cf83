"""The event store in plain Python: no file, no thread, and every guarantee but durability.

Rule: it is a peer of the others, not a mock: it passes the same contract, with no shortcut in what things mean.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol
from uuid import UUID

from diptych.clock import Clock, SystemClock, new_id
from diptych.errors import ConfigurationError, StoreUnavailableError, WrongExpectedVersionError
from diptych.events.recorded import StoredEvent, checksum, to_microseconds
from diptych.store.batches import Fold
from diptych.store.heads import HeadSignal
from diptych.store.limits import check_append
from diptych.store.protocols import (
    Append,
    Appended,
    CommandKey,
    CommandKeyTaken,
    Head,
    Page,
    StoredCommand,
    StoreSettings,
    ViewStore,
)
from diptych.stream import StreamName, is_met, slice_of

_DEFAULT: Final = StoreSettings()
_PAGE_BYTES: Final = 4 * 1024 * 1024
_DAY: Final = 86_400_000_000  # microseconds
_stored = partial(tuple.__new__, StoredEvent)


class InlineViews(ViewStore, Protocol):
    """A view store that an event store without transactions of its own can fold into."""

    async def fold(self, folds: Sequence[Fold], events: Sequence[StoredEvent], head_before: int) -> Sequence[str]:
        """Fold one append's events, all of them or none; returns the names of those projections that were there."""
        ...


class MemoryEventStore:
    """The log in the memory of one event loop. Closed and opened again, it still knows its events."""

    def __init__(
        self, settings: StoreSettings = _DEFAULT, *, inline: InlineViews | None = None, clock: Clock | None = None
    ) -> None:
        self.store_id: UUID = new_id()
        self._settings, self._inline, self._clock = settings, inline, clock or SystemClock()
        self._log: list[StoredEvent] = []
        self._streams: dict[StreamName, list[StoredEvent]] = {}
        self._commands: dict[CommandKey, tuple[StoredCommand, int]] = {}
        self._signal = HeadSignal()
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[Appended]] = set()
        self._is_open = False

    @property
    def inline(self) -> InlineViews:
        """The rows that commit with the log. :raises ConfigurationError: it was made without a place for them."""
        if self._inline is None:
            raise ConfigurationError("This memory store has no inline view store. Open it with open_stores.")
        return self._inline

    async def open(self) -> None:
        """Begin to take appends."""
        self._is_open = True

    async def close(self) -> None:
        """Refuse what comes after; its events are there when it is opened again."""
        async with self._turn:
            self._is_open = False
        if self._inline is not None:
            await self._inline.close()

    async def append(self, append: Append) -> Appended:
        """Store all of it or nothing. A caller who is cancelled does not stop it half-way."""
        check_append(append, self._settings.limits)
        self._check_open()
        if not append.inline and append.beside is None and not self._turn.locked():
            self._judge(append)
            return self._write(append, self._rows(append))
        running = asyncio.create_task(self._append_in_turn(append), name="append")
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await asyncio.shield(running)

    async def _append_in_turn(self, append: Append) -> Appended:
        async with self._turn:
            self._check_open()
            self._judge(append)
            rows = self._rows(append)
            folded: Sequence[str] = ()
            if append.inline:
                folded = await self.inline.fold(append.inline, rows, len(self._log))
            if append.beside is not None:
                await self.inline.commit(append.beside)
            return self._write(append, rows)._replace(folded=folded)

    def _write(self, append: Append, rows: Sequence[StoredEvent]) -> Appended:
        for row in rows:
            self._log.append(row)
            self._streams.setdefault(row.stream, []).append(row)
        head = self._head()
        written = [write.stream for write in append.writes if write.events]
        versions = [len(self._streams[stream]) for stream in written]
        if append.command is not None:
            types = frozenset(row.type for row in rows)
            by_stream = dict(zip(written, versions, strict=True))
            command = append.command
            stored = StoredCommand(command.hash, command.result, head.position, head.event_id, by_stream, types)
            self._commands[command.key] = (stored, self._time())
            self._forget_commands()
        self._signal.announce(head.position)
        return Appended(head.position, head.event_id, head.recorded_at, versions)

    def _judge(self, append: Append) -> None:
        """Raise for the first guard that fails: the command's id, then the streams."""
        if append.command is not None and append.command.key in self._commands:
            raise CommandKeyTaken(self._commands[append.command.key][0])
        for write in append.writes:
            actual = len(self._streams.get(write.stream, ()))
            if not is_met(write.expected, actual):
                raise WrongExpectedVersionError(write.stream, write.expected, actual)

    def _rows(self, append: Append) -> list[StoredEvent]:
        position, time = len(self._log), self._time()
        rows: list[StoredEvent] = []
        for write in append.writes:
            tenant, category, uuid = write.stream
            version = len(self._streams.get(write.stream, ()))
            for event_id, type, schema_version, payload, format in write.events:
                position, version = position + 1, version + 1
                place = (position, tenant, category, str(uuid), version, event_id)
                row: tuple[Any, ...] = (*place, type, schema_version, format, payload, append.metadata, time)
                rows.append(_stored((*row, checksum(row))))
        return rows

    async def read_stream(self, stream: StreamName, *, first: int = 1) -> Sequence[StoredEvent]:
        """Return the events of a stream from version `first` on."""
        self._check_open()
        return self._streams.get(stream, [])[max(first, 1) - 1 :]

    async def streams_of(self, id: UUID) -> Sequence[StreamName]:
        """Return all streams with this id."""
        self._check_open()
        return sorted(stream for stream in self._streams if stream.id == id)

    async def read_log(self, *, after: int, types: frozenset[str] | None = None, limit: int = 1000) -> Page:
        """Return up to `limit` events after a position, of these types or of all; at most about 4 MB of payload."""
        self._check_open()
        return self._page(after, None if types is None else lambda row: row.type in types, limit)

    async def read_slices(self, *, after: int, slices: range, limit: int = 1000) -> Page:
        """Return up to `limit` events after a position, of streams in these slices; at most about 4 MB of payload."""
        self._check_open()
        return self._page(after, lambda row: slice_of(row.stream_id) in slices, limit)

    async def find_command(self, key: CommandKey) -> StoredCommand | None:
        """What this command did the first time."""
        self._check_open()
        found = self._commands.get(key)
        return None if found is None else found[0]

    async def head(self) -> Head:
        """The end of the log now."""
        self._check_open()
        return self._head()

    async def wait(self, after: int, seconds: float) -> None:
        """Return when the head is past `after`, or after `seconds`."""
        await self._signal.wait(after, seconds)

    def _page(self, after: int, is_wanted: Callable[[StoredEvent], bool] | None, limit: int) -> Page:
        events: list[StoredEvent] = []
        size, scanned = 0, after
        for row in self._log[after : None if is_wanted is not None else after + limit]:
            if is_wanted is None or is_wanted(row):
                size += len(row.payload.encode())
                if len(events) == limit or (events and size > _PAGE_BYTES):
                    break
                events.append(row)
            scanned = row.position
        return Page(after, scanned, events, self._head(), self._at(after).event_id, self._at(scanned))

    def _at(self, position: int) -> Head:
        if not 0 < position <= len(self._log):
            return Head()
        event = self._log[position - 1]
        return Head(event.position, event.event_id, event.recorded_at)

    def _head(self) -> Head:
        return self._at(len(self._log))

    def _time(self) -> int:
        return max(to_microseconds(self._clock.now()), self._head().recorded_at)

    def _forget_commands(self) -> None:
        """Drop the oldest ids that are past their window: a dict keeps them in the order they came."""
        oldest = next(iter(self._commands))
        while self._commands[oldest][1] < self._time() - self._settings.command_window_days * _DAY:
            del self._commands[oldest]
            oldest = next(iter(self._commands))

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailableError("The memory store is not open. Open it before using it.")
