"""What an audit reads from a file of events: rows as they lie there, in pages, whatever somebody did to them.

Rule: no payload leaves SQLite; checksums are worked out row by row, so that memory does not grow with the log.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID
from zlib import crc32

import apsw

from diptych.events.recorded import chained
from diptych.store.batches import ProjectionTables
from diptych.store.generations import Generation, fitting
from diptych.store.outside import CommandFacts, EventFacts, MarkFacts, StreamFacts, VersionFacts, lane_name
from diptych.store.protocols import Head
from diptych.store.sqlite import log
from diptych.store.sqlite.connection import DatabaseFile, check_ours, open_reader, translate
from diptych.store.sqlite.generations import read_generations
from diptych.store.sqlite.migrations import migrations
from diptych.store.sqlite.outside import check_begun, events_file, has_table, open_outside
from diptych.store.sqlite.views import views_file
from diptych.stream import StreamName

T = TypeVar("T")

_PAGE: Final = 2000
_BYTES: Final = 8 * 1024 * 1024  # read in one go, under one snapshot
_TEXT: Final = f"CAST(concat_ws(char(31), {log.FIELDS}) AS BLOB)"
_EVENTS: Final = f"""
SELECT e.position, e.version, e.recorded_at, e.slice, e.checksum, {_TEXT}, e.schema_version, CAST(t.name AS BLOB),
    CAST(s.tenant AS BLOB), CAST(s.category AS BLOB), CAST(s.stream_id AS BLOB), e.tenant IS s.tenant
FROM events e LEFT JOIN streams s ON s.id = e.stream LEFT JOIN event_types t ON t.id = e.type
WHERE e.position > ? AND e.position <= ? ORDER BY e.position LIMIT {_PAGE}
"""  # noqa: S608 - constants
_BY_STREAM: Final = f"""
SELECT e.stream, e.version, e.position, e.chain, {_TEXT}
FROM events e INDEXED BY events_by_stream
LEFT JOIN streams s ON s.id = e.stream LEFT JOIN event_types t ON t.id = e.type
WHERE (e.stream, e.version, e.position) > (?, ?, ?) AND e.position <= ?
ORDER BY e.stream, e.version, e.position LIMIT {_PAGE}
"""  # noqa: S608 - constants
_STREAMS: Final = f"""
SELECT s.id, CAST(s.tenant AS BLOB), CAST(s.category AS BLOB), CAST(s.stream_id AS BLOB), s.version,
    (SELECT max(version) FROM events WHERE stream = s.id),
    (SELECT position FROM events WHERE stream = s.id ORDER BY version LIMIT 1),
    s.chain IS (SELECT chain FROM events WHERE stream = s.id ORDER BY version DESC, position DESC LIMIT 1)
FROM streams s WHERE s.id > ? ORDER BY s.id LIMIT {_PAGE}
"""  # noqa: S608 - constants
_LOST: Final = """
SELECT count(*) FROM json_each(c.streams) j
LEFT JOIN streams s ON s.tenant = j.value->>0 AND s.category = j.value->>1 AND s.stream_id = j.value->>2
LEFT JOIN events x ON x.stream = s.id AND x.version = j.value->>3
WHERE x.position IS NULL OR x.position > c.position
"""
_COMMANDS: Final = f"""
SELECT c.id, CAST(c.command_type AS BLOB), c.command_id, c.position, (SELECT coalesce(max(position), 0) FROM events),
    coalesce(e.event_id, x'') = c.event_id, CASE WHEN json_valid(c.streams) THEN ({_LOST}) ELSE 1 END
FROM commands c LEFT JOIN events e ON e.position = c.position WHERE c.id > ? ORDER BY c.id LIMIT {_PAGE}
"""  # noqa: S608 - constants
_MARKS: Final = """
SELECT c.projection, c.generation, c.lane, c.position, c.event_id, e.event_id
FROM projection_checkpoints c LEFT JOIN events e ON e.position = c.position ORDER BY 1, 2, 3
"""
TRIGGER: Final = re.compile(r"CREATE TRIGGER (\w+).+?^END", re.DOTALL | re.MULTILINE)


class FileAudit:
    """A file of events, read for an audit."""

    def __init__(self, connection: apsw.Connection, path: str) -> None:
        self.place, self._connection = path, connection

    async def head(self) -> Head:
        """The end of the log now."""
        return self._read(log.read_head)

    async def events(self, after: int, through: int) -> Sequence[EventFacts]:
        """Return the next events by position."""
        return self._page(_EVENTS, (after, through), 5, _event)

    async def by_stream(self, after: VersionFacts | None, through: int) -> Sequence[VersionFacts]:
        """Return the next events by stream and version."""
        before = after

        def fact(row: tuple[Any, ...]) -> VersionFacts:
            nonlocal before
            stream, version, position, chain, text = row
            goes_on = before.chain if before is not None and before.stream == stream else None
            before = VersionFacts(stream, version, position, chain, chained(text, goes_on) == chain)
            return before

        start = (-1, -1, -1) if after is None else after[:3]
        return self._page(_BY_STREAM, (*start, through), 4, fact)

    async def streams(self, after: int) -> Sequence[StreamFacts]:
        """Return the next streams by their number."""
        return self._page(_STREAMS, (after,), 1, _stream)

    async def commands(self, after: int) -> Sequence[CommandFacts]:
        """Return the next remembered commands."""
        return self._page(_COMMANDS, (after,), 1, _command)

    async def marks(self) -> Sequence[MarkFacts]:
        """Return the checkpoints of all lanes whose rows are in the same file."""
        if not self._read(lambda connection: has_table(connection, "projection_checkpoints")):
            return []
        return [MarkFacts(lane_name(*row[:3]), *row[3:]) for row in self._rows(_MARKS)]

    async def missing_guards(self) -> Sequence[str]:
        """Return the names of triggers that are missing or are not as this code writes them."""
        wanted = {found[1]: found[0] for _, sql in migrations("events") for found in TRIGGER.finditer(sql)}
        sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
        found = dict(self._rows(sql))
        return [name for name, text in wanted.items() if found.get(name) != text]

    async def event_id(self, position: int) -> bytes | None:
        """Return the id of the event at a position."""
        sql = "SELECT event_id FROM events WHERE position = ?"
        found: bytes | None = self._read(lambda connection: connection.execute(sql, (position,)).get)
        return found

    def _rows(self, sql: str) -> list[Any]:
        return self._read(lambda connection: connection.execute(sql).fetchall())

    def _page(self, sql: str, values: tuple[Any, ...], text: int, fact: Callable[[Any], T]) -> list[T]:
        """Make facts of rows one by one, until there are enough, or enough bytes were read in column `text`."""

        def read(connection: apsw.Connection) -> list[T]:
            facts, size = list[T](), 0
            for row in connection.execute(sql, values):
                facts.append(fact(row))
                size += len(row[text])
                if size > _BYTES:
                    break
            return facts

        return self._read(read)

    def _read(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            return work(self._connection)
        except (apsw.Error, *log.UNREADABLE) as error:
            raise translate(error, self.place) from error


def _event(row: tuple[Any, ...]) -> EventFacts:
    position, version, time, slice, checksum, text, schema, type, tenant, category, id, has_same_tenant = row
    kind, stream = None if type is None else _shown(type), None if id is None else _named(tenant, category, id)
    found = (position, version, time, slice, checksum, crc32(text), schema, kind, stream)
    return EventFacts(*found, bool(has_same_tenant))


def _named(tenant: bytes, category: bytes, id: bytes) -> StreamName | None:
    try:
        return StreamName(tenant.decode(), category.decode(), UUID(id.decode()))
    except ValueError:
        return None


def _stream(row: tuple[Any, ...]) -> StreamFacts:
    id, tenant, category, stream_id, version, last, first, has_last_chain = row
    name = f"{_shown(tenant)}/" * bool(tenant) + f"{_shown(category)}-{_shown(stream_id)}"
    return StreamFacts(id, name, version, last, first, bool(has_last_chain))


def _command(row: tuple[Any, ...]) -> CommandFacts:
    id, type, command_id, position, head, is_there, lost = row
    return CommandFacts(id, f"{_shown(type)} {_uuid(command_id)}", position, head, bool(is_there), lost)


def _uuid(value: bytes) -> str:
    return str(UUID(bytes=value)) if len(value) == 16 else value.hex()


def _shown(text: bytes) -> str:
    return text.decode(errors="backslashreplace")


def generations_in(file: DatabaseFile) -> list[Generation]:
    """Return the generations of a file; none if it is not there, or never had any."""
    if not Path(file.path).exists():
        return []
    connection = open_outside(file)
    try:
        return read_generations(connection) if has_table(connection, "projection_generations") else []
    finally:
        connection.close()


def as_made(events: str, views: str, projections: Sequence[ProjectionTables]) -> set[str]:
    """Return the names of those projections whose tables are as this code makes them, in one file or the other."""
    files = events_file(events), views_file(views)
    return {name for file in files for name in fitting(generations_in(file), projections)}


@contextmanager
def audited(path: str) -> Iterator[FileAudit]:
    """Open a file of events for an audit, which sees what a service appends meanwhile.

    :raises ConfigurationError: it has no log yet. :raises StoreError: it cannot be read, or is not ours.
    """
    connection = _open(events_file(path))
    try:
        check_begun(connection, path)
        yield FileAudit(connection, path)
    finally:
        connection.close()


def _open(file: DatabaseFile) -> apsw.Connection:
    """Open a file as its service does, so that a start of it meanwhile is no harm; where that cannot be, as it lies."""
    connection = open_reader(file)
    try:
        check_ours(connection, file)
        return connection
    except apsw.CantOpenError:  # nothing can be made beside it
        connection.close()
        return open_outside(file)
    except BaseException as error:
        connection.close()
        raise translate(error, file.path) from error
