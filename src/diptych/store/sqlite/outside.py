"""Looks things up in a file of events from outside.

Rule: SQLite itself refuses every write on these connections.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import apsw

from diptych.errors import ConfigurationError
from diptych.events.recorded import StoredEvent
from diptych.store.outside import CommandTrace, KindCount, Sought
from diptych.store.protocols import Head, Page
from diptych.store.sqlite import log
from diptych.store.sqlite.connection import DatabaseFile, check_ours, open_reader, translate
from diptych.store.sqlite.events import EVENTS_APPLICATION_ID, EVENTS_SCHEMA
from diptych.stream import StreamName

T = TypeVar("T")

_COMMANDS: Final = """
SELECT command_type, tenant, user_id, position, recorded_at FROM commands WHERE command_id = ? ORDER BY position
"""
_POSITIONS: Final = """
SELECT position FROM events e WHERE position > :after AND position <= :through
    AND (:types = '[]' OR type IN (SELECT id FROM event_types WHERE name IN (SELECT value FROM json_each(:types))))
    AND (:is_any_stream OR (SELECT coalesce(:tenant, tenant) = tenant AND coalesce(:stream_id, stream_id) = stream_id
         AND lower(coalesce(:category, category)) = lower(category) FROM streams WHERE id = e.stream))
    AND NOT EXISTS (SELECT 1 FROM json_each(:beside) WHERE NOT instr(e.metadata, value))
    AND (:payload = '' OR instr(payload, :payload))
ORDER BY position DESC
"""
_KINDS: Final = """
SELECT t.name, e.schema_version, count(*), min(e.position), max(e.position)
FROM events e CROSS JOIN event_types t ON t.id = e.type WHERE e.position > ? GROUP BY 1, 2 ORDER BY 1, 2
"""


def open_outside(file: DatabaseFile) -> apsw.Connection:
    """Open for reading. A file nobody has open is read as it lies: else SQLite would leave its own files beside it."""
    is_open = Path(f"{file.path}-wal").exists() or not Path(file.path).exists()
    connection = open_reader(replace(file, is_at_rest=not is_open))
    try:
        check_ours(connection, file)
    except BaseException as error:
        connection.close()
        if isinstance(error, apsw.Error):
            raise translate(error, file.path) from error
        raise
    return connection


def has_table(connection: apsw.Connection, table: str) -> bool:
    """Whether there is such a table."""
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).get is not None


def check_begun(connection: apsw.Connection, path: str) -> None:
    """:raises ConfigurationError: there is no log in the file yet."""
    if not has_table(connection, "events"):
        raise ConfigurationError(f"{path} has no log yet: the service has not run.")


def events_file(path: str) -> DatabaseFile:
    """The description of a file of events."""
    return DatabaseFile(path, EVENTS_APPLICATION_ID, EVENTS_SCHEMA)


class OutsideFile:
    """A file of events to look things up in. Every read is short."""

    def __init__(self, connection: apsw.Connection, path: str) -> None:
        self.place, self._connection = path, connection

    async def head(self) -> Head:
        """The end of the log now."""
        return self._read(log.read_head)

    async def read_stream(self, stream: StreamName) -> Sequence[StoredEvent]:
        """Return the events of a stream in order."""
        return self._read(lambda connection: log.read_stream(connection, stream, 1))

    async def read_log(self, *, after: int, limit: int) -> Page:
        """Return up to `limit` events after a position."""
        return self._read(lambda connection: log.read_page(connection, after, None, limit))

    async def streams_of(self, id: UUID) -> Sequence[StreamName]:
        """Return all streams with this id."""
        return self._read(lambda connection: log.read_streams_of(connection, id))

    async def commands_of(self, id: UUID) -> Sequence[CommandTrace]:
        """Return the commands that took effect under this id."""
        found = self._rows(_COMMANDS, id.bytes)
        return [CommandTrace(kind, id, tenant, user, at, time) for kind, tenant, user, at, time in found]

    async def positions(self, sought: Sought, *, after: int, through: int) -> Sequence[int]:
        """Return where such events are, the newest first."""
        types, tenant, category, stream_id, beside, payload = sought
        values = {
            "after": after,
            "through": through,
            "types": json.dumps(types),
            "is_any_stream": (tenant, category, stream_id) == (None, None, None),
            "tenant": tenant,
            "category": category,
            "stream_id": None if stream_id is None else str(stream_id),
            "beside": json.dumps(beside),
            "payload": payload,
        }
        return self._read(lambda connection: [row[0] for row in connection.execute(_POSITIONS, values)])

    async def kinds(self, *, after: int = 0) -> Sequence[KindCount]:
        """Count the events after a position by stored name and schema version."""
        return [KindCount(*row) for row in self._rows(_KINDS, after)]

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._read(lambda connection: connection.execute(sql, values).fetchall())

    def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            return work(self._connection)
        except (apsw.Error, *log.UNREADABLE) as error:
            raise translate(error, self.place) from error


@contextmanager
def outside(path: str) -> Iterator[OutsideFile]:
    """Open a file of events to look at. :raises ConfigurationError: it has none yet. :raises StoreError:"""
    connection = open_outside(events_file(path))
    try:
        check_begun(connection, path)
        yield OutsideFile(connection, path)
    finally:
        connection.close()
