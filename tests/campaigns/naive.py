"""An event store as it is often written: it hands out a position first and commits a moment later.

It is here to be caught: a torture that this store survives would prove nothing.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from diptych.errors import WrongExpectedVersionError
from diptych.events.recorded import NewEvent, StoredEvent, checksum
from diptych.store.protocols import (
    Append,
    Appended,
    CommandKey,
    CommandKeyTaken,
    EventStore,
    Head,
    Page,
    StoredCommand,
    StreamWrite,
)
from diptych.stream import StreamName, is_met


class NaiveStore(EventStore):
    """Right about versions and commands, wrong about what a reader may believe."""

    inline: Any = None

    def __init__(self) -> None:
        self.store_id: UUID = uuid4()
        self.hold_next: asyncio.Event | None = None
        self._given = 0
        self._rows: dict[int, StoredEvent] = {}
        self._versions: dict[StreamName, int] = {}
        self._commands: dict[CommandKey, StoredCommand] = {}

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def append(self, append: Append) -> Appended:
        """Take positions, let others run, then become visible."""
        if append.command is not None and append.command.key in self._commands:
            raise CommandKeyTaken(self._commands[append.command.key])
        for write in append.writes:
            actual = self._versions.get(write.stream, 0)
            if not is_met(write.expected, actual):
                raise WrongExpectedVersionError(write.stream, write.expected, actual)
        rows = [self._row(write, event) for write in append.writes for event in write.events]
        versions = [self._versions[write.stream] for write in append.writes]
        last = rows[-1]
        if append.command is not None:
            streams = {write.stream: self._versions[write.stream] for write in append.writes}
            stored = StoredCommand(b"", "", last.position, last.event_id, streams, frozenset())
            self._commands[append.command.key] = stored
        await asyncio.sleep(last.position % 3 / 1000)
        held, self.hold_next = self.hold_next, None
        if held is not None:
            await held.wait()
        self._rows.update((row.position, row) for row in rows)
        return Appended(last.position, last.event_id, last.recorded_at, versions)

    def _row(self, write: StreamWrite, event: NewEvent) -> StoredEvent:
        self._given += 1
        version = self._versions[write.stream] = self._versions.get(write.stream, 0) + 1
        tenant, category, id = write.stream
        row = (self._given, tenant, category, str(id), version, *event[:3], event.format, event.payload, "{}", 0)
        return StoredEvent(*row, checksum(row))

    async def read_stream(self, stream: StreamName, *, first: int = 1) -> Sequence[StoredEvent]:
        """What is visible of a stream."""
        return [row for _, row in sorted(self._rows.items()) if row.stream == stream and row.version >= first]

    async def streams_of(self, id: UUID) -> Sequence[StreamName]:
        """The streams with this id that are visible."""
        return sorted({row.stream for row in self._rows.values() if row.stream.id == id})

    async def read_log(self, *, after: int, types: frozenset[str] | None = None, limit: int = 1000) -> Page:
        """`position > after`, in order: the query that skips."""
        visible = [row for position, row in sorted(self._rows.items()) if position > after][:limit]
        scanned = visible[-1].position if visible else after
        chosen = [row for row in visible if types is None or row.type in types]
        return Page(after, scanned, chosen, await self.head())

    async def read_slices(self, *, after: int, slices: range, limit: int = 1000) -> Page:
        """The same query, which sees no gap."""
        page = await self.read_log(after=after, limit=limit)
        return page._replace(events=[row for row in page.events if row.stream.slice in slices])

    async def find_command(self, key: CommandKey) -> StoredCommand | None:
        """What is known of a command."""
        return self._commands.get(key)

    async def head(self) -> Head:
        """The highest visible position."""
        return Head(max(self._rows, default=0))

    async def wait(self, after: int, seconds: float) -> None:
        """Poll."""
        await asyncio.sleep(0)
