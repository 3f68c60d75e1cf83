"""A client of an event store that writes down what it did and what it was told, and a reader that does the same.

Rule: only the two protocols of `diptych.store.protocols` are used, so that every store can be put on trial.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final, Protocol
from uuid import UUID

from diptych.clock import id_for, new_id
from diptych.errors import ConflictError, DiptychError, UnknownOutcomeError, WrongExpectedVersionError
from diptych.events.recorded import NewEvent, StoredEvent, is_intact
from diptych.store.batches import Fold
from diptych.store.protocols import (
    Append,
    Appended,
    CommandKey,
    CommandKeyTaken,
    CommandRecord,
    EventStore,
    StreamWrite,
)
from diptych.stream import ANY, NO_STREAM, STREAM_EXISTS, Expected, StreamName
from tests.campaigns.history import (
    ANY_VERSION,
    NO_STREAM_YET,
    SOME_VERSION,
    Entry,
    Operation,
    Read,
    Write,
    operation_line,
    operation_of,
)

COMMON: Final = "Common"
RARE: Final = "Rare"


def stream_name(number: int) -> StreamName:
    """The stream with this number, the same in every process and every run."""
    return StreamName("", "account", id_for("account", str(number)))


def new_event(random: Random, kind: str | None = None) -> NewEvent:
    """An event whose payload says its id, so that a payload in the wrong row is noticed."""
    event_id = new_id().bytes
    kind = kind or (RARE if random.random() < 0.05 else COMMON)
    return NewEvent(event_id, kind, 1, _payload(event_id))


def _payload(event_id: bytes) -> str:
    return f'{{"id":"{event_id.hex()}","cents":"12.50"}}'


def label(event: NewEvent | StoredEvent) -> str:
    """The name of an event in a history: its type, so that filtered readers can be judged, and its id."""
    return f"{event.type}:{event.event_id.hex()}"


def entry_of(row: StoredEvent) -> Entry:
    """A row of the log as the history has it. :raises AssertionError: it is not what was written."""
    assert is_intact(row), f"position {row.position} does not match its checksum"
    assert row.payload == _payload(row.event_id), f"position {row.position} holds another payload than was written"
    return Entry(row.position, f"{row.category}-{row.stream_id}", row.version, label(row))


async def whole_log(store: EventStore) -> list[Entry]:
    """Everything the store holds, in its order."""
    entries: list[Entry] = []
    after = 0
    while True:
        page = await store.read_log(after=after)
        entries.extend(entry_of(row) for row in page.events)
        if page.scanned >= page.head.position:
            return entries
        after = page.scanned


class Recorder(Protocol):
    """Where operations are written down: before they are tried, and again when their answer is known."""

    def begun(self, operation: Operation) -> None:
        """It will be tried now."""
        ...

    def ended(self, operation: Operation) -> None:
        """It has its answer, or never will."""
        ...


class InMemory:
    """Keeps operations as they are; their answers show up in them."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def begun(self, operation: Operation) -> None:
        """Keep it."""
        self.operations.append(operation)

    def ended(self, operation: Operation) -> None:
        """It is kept already."""


class InFile:
    """Writes every line at once, so that what a killed process did is known to the last moment."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def begun(self, operation: Operation) -> None:
        """Write it down without an answer."""
        os.write(self._descriptor, f"{operation_line(operation)}\n".encode())

    ended = begun

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def operations_in(path: Path) -> list[Operation]:
    """What a process wrote down before it ended or was killed: of each operation the last that is known."""
    found: dict[tuple[str, int], Operation] = {}
    for line in path.read_text().splitlines():
        operation = operation_of(line)
        found[operation.client, operation.invoked] = operation
    return list(found.values())


class Client:
    """Appends and records. An answer that never came leaves the operation `unknown`, as it was begun."""

    def __init__(self, name: str, store: EventStore, recorder: Recorder, inline: Sequence[Fold] = ()) -> None:
        self.name, self._store, self._recorder, self._inline = name, store, recorder, inline

    async def append(
        self, writes: Sequence[tuple[StreamName, int, Sequence[NewEvent]]], command: UUID | None = None
    ) -> Operation:
        """Append, and say how it went; only a cancellation is passed on."""
        labelled = tuple(Write(str(stream), expected, tuple(map(label, events))) for stream, expected, events in writes)
        append = Append(
            [StreamWrite(stream, _expected(expected), events) for stream, expected, events in writes],
            command=None if command is None else command_record(command),
            inline=self._inline,
        )
        operation = Operation(self.name, time.monotonic_ns(), labelled, None if command is None else command.hex)
        self._recorder.begun(operation)
        await self._try(append, operation)
        self._recorder.ended(operation)
        return operation

    async def _try(self, append: Append, operation: Operation) -> None:
        try:
            answer = await self._store.append(append)
        except CommandKeyTaken as taken:
            operation.outcome, operation.position = "duplicate", taken.stored.position
        except WrongExpectedVersionError as conflict:
            operation.outcome = "conflict"
            operation.conflict_stream, operation.conflict_actual = str(conflict.stream), conflict.actual
        except UnknownOutcomeError:
            return
        except ConflictError:
            raise
        except DiptychError:
            operation.outcome = "refused"
        else:
            _stored(operation, answer)
        operation.finished = time.monotonic_ns()


def command_record(command: UUID) -> CommandRecord:
    """What makes an append happen once: the same for every attempt of the command."""
    return CommandRecord(CommandKey("", "tester", "Torture", command), command.bytes, f'"{command}"')


def _stored(operation: Operation, answer: Appended) -> None:
    operation.outcome, operation.position = "stored", answer.position
    operation.versions = tuple(answer.versions)


def _expected(expected: int) -> Expected:
    return {ANY_VERSION: ANY, NO_STREAM_YET: NO_STREAM, SOME_VERSION: STREAM_EXISTS}.get(expected, expected)


class Reader:
    """Follows the log page by page from its beginning and records every page that shows something new."""

    def __init__(self, name: str, store: EventStore, record: Callable[[Read], None], *, kind: str = "") -> None:
        self.name, self._store, self._record, self._kind = name, store, record, kind
        self.after = 0

    async def read(self, limit: int) -> bool:
        """Read one page; whether it moved."""
        invoked = time.monotonic_ns()
        types = frozenset({self._kind}) if self._kind else None
        page = await self._store.read_log(after=self.after, types=types, limit=limit)
        events = tuple((row.position, label(row)) for row in page.events)
        finished = time.monotonic_ns()
        read = Read(self.name, invoked, finished, self.after, page.scanned, page.head.position, events, self._kind)
        if page.scanned == self.after and not events:
            return False
        self._record(read)
        self.after = page.scanned
        return True
