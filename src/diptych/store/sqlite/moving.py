"""A file of events as the source of a move to another store: read in pages, and marked as moved.

Rule: until it is marked nothing in it is changed, and services go on writing to it; afterwards SQLite itself refuses
every append, of every process, inside its transaction, and every claim of a saga's, reaction's or publication's lane.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from json import loads
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

import apsw

from diptych.errors import CorruptedEventError, StoreUnavailableError
from diptych.events.recorded import StoredEvent, is_intact
from diptych.store.generations import placed_name
from diptych.store.rows import quoted
from diptych.store.sqlite.connection import MOVED, DatabaseFile, check_ours, open_reader, open_writer, translate
from diptych.store.sqlite.events import EVENTS_APPLICATION_ID, EVENTS_SCHEMA
from diptych.store.sqlite.generations import read_generations
from diptych.store.sqlite.lock import WriterLock
from diptych.store.sqlite.outside import has_table

_APPENDING: Final = {"moved_events": "INSERT ON events", "moved_commands": "INSERT ON commands"}
_MOVING: Final = {"moved_lanes": "UPDATE OF epoch, position ON projection_checkpoints"}  # a claim, and a step
_MARKS: Final = f"SELECT name FROM sqlite_schema WHERE type = 'trigger' AND instr(sql, '{MOVED}')"  # noqa: S608 - a constant
_EVENTS: Final = """
SELECT e.position, s.tenant, s.category, s.stream_id, e.version, e.event_id, t.name, e.schema_version, e.format,
    e.payload, e.metadata, e.recorded_at, e.checksum, f.position, e.slice
FROM events e LEFT JOIN streams s ON s.id = e.stream LEFT JOIN event_types t ON t.id = e.type
LEFT JOIN events f ON f.stream = e.stream AND f.version = 1
WHERE e.position > ? ORDER BY e.position LIMIT ?
"""
_CHAIN: Final = """
SELECT e.chain FROM streams s JOIN events e ON e.stream = s.id
WHERE s.tenant = ? AND s.category = ? AND s.stream_id = ? AND e.version = ?
"""
_COMMANDS: Final = """
SELECT id, position, recorded_at, command_id, streams, event_types, command_type, user_id, tenant, hash, result
FROM commands WHERE id > ? ORDER BY id LIMIT ?
"""
_BACKWARDS: Final = """
SELECT e.stream, e.metadata, e.recorded_at, t.name FROM events e JOIN event_types t ON t.id = e.type
WHERE e.position <= ? ORDER BY e.position DESC
"""
_PAGE_BYTES: Final = 4 * 1024 * 1024
_LOCK_SECONDS: Final = 30.0


class SourceEvent(NamedTuple):
    """An event, with what other stores keep beside it."""

    event: StoredEvent
    first: int  # the position of its stream's first event
    slice: int


class SourceCommand(NamedTuple):
    """A command that took effect; `events` are how many it stored, of which the last is at `position`."""

    id: int
    position: int
    recorded_at: int
    command_id: UUID
    events: int
    command_type: str
    user_id: str
    tenant: str
    hash: bytes
    result: str


class Counts(NamedTuple):
    """What a store has."""

    events: int
    streams: int
    commands: int


class SourceFile:
    """An open file of events. Its methods block; between two calls it holds no snapshot."""

    def __init__(self, path: str) -> None:
        if not Path(path).exists():
            raise StoreUnavailableError(f"{path} is not there. Name the file of events: sqlite:///shop.db")
        self._file = DatabaseFile(path, EVENTS_APPLICATION_ID, EVENTS_SCHEMA)
        self._connection = open_reader(self._file)
        try:
            version = check_ours(self._connection, self._file)
            if version < EVENTS_SCHEMA:
                raise StoreUnavailableError(f"{path} has schema {version}. Bring it up to date: diptych db upgrade")
            self.store_id, self.created_at = self._identity()
        except BaseException as error:
            self._connection.close()
            if isinstance(error, apsw.Error):
                raise translate(error, path) from error
            raise

    def _identity(self) -> tuple[UUID, int]:
        found = self._connection.execute("SELECT store_id, created_at FROM store").get
        if found is None:
            raise StoreUnavailableError(f"{self._file.path} was never opened by a service: there is nothing to move.")
        return UUID(found[0]), found[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def head(self) -> int:
        """The position of the last event; 0 when there is none."""
        return int(self._rows("SELECT coalesce(max(position), 0) FROM events")[0][0])

    def event_at(self, position: int) -> StoredEvent | None:
        """The event at a position, None past the end."""
        found = self.events(position - 1, 1)
        return found[0].event if found else None

    def events(self, after: int, limit: int) -> list[SourceEvent]:
        """The next events, at most so many and about 4 MB. :raises CorruptedEventError: one is damaged."""
        found: list[SourceEvent] = []
        size = 0
        for row in self._each(_EVENTS, (after, limit)):
            stored = StoredEvent(*row[:13])
            if None in row or stored.position != after + len(found) + 1 or not is_intact(stored):
                raise CorruptedEventError(after + len(found) + 1)
            found.append(SourceEvent(stored, row[13], row[14]))
            size += len(stored.payload)
            if size > _PAGE_BYTES:
                break
        return found

    def chains(self, versions: Mapping[tuple[str, str, str], int]) -> dict[tuple[str, str, str], int | None]:
        """The checksum over each stream up to a version, as it was kept when that was written; None: it has none."""
        return {
            stream: next(iter(self._rows(_CHAIN, (*stream, version))), (None,))[0]
            for stream, version in versions.items()
        }

    def commands(self, after: int, limit: int) -> list[SourceCommand]:
        """The commands that are remembered, in the order they came, after that with this id."""
        found = []
        for id, position, time, command_id, streams, types, *rest in self._rows(_COMMANDS, (after, limit)):
            count = self._events_of(position, len(loads(streams)), frozenset(loads(types)))
            found.append(SourceCommand(id, position, time, UUID(bytes=command_id), count, *rest))
        return found

    def oldest_command(self) -> int:
        """The id of the first command that is remembered; 0 when there is none."""
        return int(self._rows("SELECT coalesce(min(id), 0) FROM commands")[0][0])

    def _events_of(self, position: int, streams: int, types: frozenset[str]) -> int:
        """How many events a command stored, the last of them at `position`: in as many runs as it wrote streams."""
        count, runs, stream, written = 0, 0, None, None
        if streams == 0:
            return 0
        for each, metadata, time, type in self._each(_BACKWARDS, (position,)):
            runs += each != stream
            if runs > streams or type not in types or (written is not None and written != (metadata, time)):
                break
            count, stream, written = count + 1, each, (metadata, time)
        return count

    def counts(self) -> Counts:
        """How much there is of everything."""
        tables = ", ".join(f"(SELECT count(*) FROM {table})" for table in Counts._fields)  # noqa: S608 - our own
        return Counts(*self._rows(f"SELECT {tables}")[0])

    def moved_to(self) -> str | None:
        """Where it was moved, None if it takes appends."""
        found = self._rows("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = 'moved_events'")
        return found[0][0].partition(MOVED)[2].rpartition("')")[0].replace("''", "'") if found else None

    def mark(self, to: str) -> None:
        """Refuse every append from now on, with an error that names `to`; when this returns it is on disk."""
        message = f"{MOVED}{to}".replace("'", "''")

        def marks(connection: apsw.Connection) -> Iterator[str]:
            for name, what in (_APPENDING | _beside(connection)).items():
                yield f"CREATE TRIGGER {quoted(name)} BEFORE {what} BEGIN SELECT RAISE(ABORT, '{message}'); END"

        self._change(marks)

    def unmark(self) -> None:
        """Take appends again. Only right where the other store never took one."""
        self._change(lambda connection: [f"DROP TRIGGER {quoted(name)}" for (name,) in connection.execute(_MARKS)])

    def _change(self, statements: Callable[[apsw.Connection], Iterable[str]]) -> None:
        lock = WriterLock(self._file.lock_path, _LOCK_SECONDS)
        connection = open_writer(self._file, synchronous="full", lock_timeout=_LOCK_SECONDS)
        try:
            with lock:
                connection.execute("BEGIN IMMEDIATE")
                for statement in statements(connection):
                    connection.execute(statement)
                connection.execute("COMMIT")
        except apsw.Error as error:
            raise translate(error, self._file.path) from error
        finally:
            connection.close(True)
            lock.close()

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return list(self._each(sql, values))

    def _each(self, sql: str, values: Sequence[Any]) -> Iterator[Any]:
        try:
            yield from self._connection.execute(sql, tuple(values))
        except apsw.Error as error:
            raise translate(error, self._file.path) from error


def _beside(connection: apsw.Connection) -> dict[str, str]:
    """What an append may write that has neither events nor a command: rows in the same file, with or without a lane."""
    if not has_table(connection, "projection_checkpoints"):
        return {}
    tables = [placed_name(table, one.number) for one in read_generations(connection) for table in one.tables]
    return _MOVING | {
        f"{table}__moved_{verb.lower()}": f"{verb} ON {quoted(table)}"
        for table in tables
        for verb in ("INSERT", "UPDATE", "DELETE")
    }
