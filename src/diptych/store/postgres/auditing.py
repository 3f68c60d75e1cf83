"""What an audit reads from a schema: rows as they lie there, in pages, whatever somebody did to them.

Rule: rows come through a cursor, a few at a time, and no payload is kept.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from uuid import UUID
from zlib import crc32

from diptych.store.batches import ProjectionTables
from diptych.store.generations import Generation, fitting
from diptych.store.outside import CommandFacts, EventFacts, MarkFacts, StreamFacts, VersionFacts, lane_name
from diptych.store.postgres.connection import Connection, Database
from diptych.store.postgres.generations import GENERATIONS, generation_of
from diptych.store.postgres.log import Log
from diptych.store.postgres.migrations import in_schema
from diptych.store.postgres.outside import check_begun, has_table, reading
from diptych.store.protocols import Head
from diptych.stream import StreamName

T = TypeVar("T")

_PAGE: Final = 2000
_BYTES: Final = 8 * 1024 * 1024
_AT_ONCE: Final = 50  # rows that the server sends in one go
_TEXT: Final = """convert_to(concat_ws(chr(31), upper(encode(uuid_send(e.event_id), 'hex') COLLATE "C"), e.tenant,
    s.category, s.stream_id, concat_ws(chr(29), t.name, e.schema_version, e.format), e.metadata, e.payload, e.position,
    e.version, e.recorded_at), 'UTF8')"""  # see `recorded.text_of`
_EVENTS: Final = f"""
SELECT e.position, e.version, e.recorded_at, e.slice, e.checksum, {_TEXT} AS text, e.schema_version, t.name,
    s.tenant, s.category, s.stream_id, e.tenant IS NOT DISTINCT FROM s.tenant
FROM diptych.events e LEFT JOIN diptych.streams s ON s.id = e.stream LEFT JOIN diptych.event_types t ON t.id = e.type
WHERE e.position > $1 AND e.position <= $2 ORDER BY e.position LIMIT {_PAGE}
"""  # noqa: S608 - constants
_BY_STREAM: Final = f"""
SELECT e.stream, e.version, e.position FROM diptych.events e
WHERE (e.stream, e.version, e.position) > ($1, $2, $3) AND e.position <= $4
ORDER BY e.stream, e.version, e.position LIMIT {_PAGE}
"""  # noqa: S608 - constants
_STREAMS: Final = f"""
SELECT s.id, s.tenant, s.category, s.stream_id, s.version,
    (SELECT max(e.version) FROM diptych.events e WHERE e.stream = s.id),
    (SELECT e.position FROM diptych.events e WHERE e.stream = s.id ORDER BY e.version LIMIT 1)
FROM diptych.streams s WHERE s.id > $1 ORDER BY s.id LIMIT {_PAGE}
"""  # noqa: S608 - constants
_COMMANDS: Final = f"""
SELECT c.id, c.command_type, c.command_id, c.position,
    (SELECT coalesce(max(h.position), 0) FROM diptych.events h),
    c.position = 0 OR EXISTS (SELECT FROM diptych.events e WHERE e.position = c.position),
    c.events - (SELECT count(*) FROM diptych.events x
        WHERE x.position > c.position - c.events AND x.position <= c.position
        AND coalesce(x.metadata->>'command', c.command_id::text) = c.command_id::text)
FROM diptych.commands c WHERE c.id > $1 ORDER BY c.id LIMIT {_PAGE}
"""  # noqa: S608 - constants
_MARKS: Final = """
SELECT c.projection, c.generation, c.lane, c.position, c.event_id, e.event_id
FROM diptych.projection_checkpoints c LEFT JOIN diptych.events e ON e.position = c.position ORDER BY 1, 2, 3
"""
_HAS_ROWS: Final = "SELECT to_regclass($1 || '.projection_checkpoints') IS NOT NULL"
_GUARDS: Final = """
SELECT w.name FROM unnest($2::text[], $3::text[]) AS w (at, name)
WHERE NOT EXISTS (
    SELECT FROM pg_trigger t WHERE t.tgrelid = to_regclass($1 || '.' || w.at) AND t.tgname = w.name
    AND t.tgenabled = 'A' AND t.tgfoid = to_regproc($1 || '.refuse_change'))
"""
_REFUSES: Final = "SELECT position('RAISE EXCEPTION' IN prosrc) > 0 FROM pg_proc WHERE oid = to_regproc($1)"
GUARDS: Final = (
    ("events", "events_are_never_changed"),
    ("events", "events_are_never_emptied"),
    ("streams", "versions_only_rise"),
    ("streams", "streams_are_never_deleted"),
    ("streams", "streams_are_never_emptied"),
    ("event_types", "types_are_never_changed"),
    ("event_types", "types_are_never_emptied"),
)


class SchemaAudit:
    """A schema, read for an audit."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self.place, self._connection, self._schema = str(database), connection, database.schema

    async def head(self) -> Head:
        """The end of the log now."""
        return await Log(self._schema).head(self._connection)

    async def events(self, after: int, through: int) -> Sequence[EventFacts]:
        """Return the next events by position."""
        return await self._page(_EVENTS, (after, through), _event)

    async def by_stream(self, after: VersionFacts | None, through: int) -> Sequence[VersionFacts]:
        """Return the next events by stream and version."""
        start = (-(2**62), 0, 0) if after is None else after[:3]
        return await self._page(_BY_STREAM, (*start, through), lambda row: VersionFacts(*row))

    async def streams(self, after: int) -> Sequence[StreamFacts]:
        """Return the next streams by their number."""
        return await self._page(_STREAMS, (after,), _stream)

    async def commands(self, after: int) -> Sequence[CommandFacts]:
        """Return the next remembered commands."""
        return await self._page(_COMMANDS, (after,), _command)

    async def marks(self) -> Sequence[MarkFacts]:
        """Return the checkpoints of all lanes whose rows are in the same schema."""
        if not await self._connection.fetchval(_HAS_ROWS, self._schema):
            return []
        rows = await self._connection.fetch(in_schema(_MARKS, self._schema))
        return [MarkFacts(lane_name(*row[:3]), row[3], row[4], row[5] and row[5].bytes) for row in rows]

    async def missing_guards(self) -> Sequence[str]:
        """Return the names of triggers that are missing, off, or call something else than they should."""
        tables, names = [at for at, _ in GUARDS], [name for _, name in GUARDS]
        missing = [row[0] for row in await self._connection.fetch(_GUARDS, self._schema, tables, names)]
        refuses = await self._connection.fetchval(_REFUSES, f"{self._schema}.refuse_change")
        return missing if refuses else [*missing, "refuse_change"]

    async def event_id(self, position: int) -> bytes | None:
        """Return the id of the event at a position."""
        sql = "SELECT event_id FROM diptych.events WHERE position = $1"
        found: UUID | None = await self._connection.fetchval(in_schema(sql, self._schema), position)
        return None if found is None else found.bytes

    async def _page(self, sql: str, values: tuple[Any, ...], fact: Callable[[Any], T]) -> list[T]:
        facts, size = list[T](), 0
        async with self._connection.transaction(readonly=True):
            async for row in self._connection.cursor(in_schema(sql, self._schema), *values, prefetch=_AT_ONCE):
                facts.append(fact(row))
                size += len(row["text"]) if "text" in row else 0
                if size > _BYTES:
                    break
        return facts


def _event(row: Any) -> EventFacts:
    position, version, time, slice, checksum, text, schema, type, tenant, category, id, has_same_tenant = row
    stream = None if id is None else StreamName(tenant, category, UUID(bytes=id.bytes))
    return EventFacts(position, version, time, slice, checksum, crc32(text), schema, type, stream, has_same_tenant)


def _stream(row: Any) -> StreamFacts:
    id, tenant, category, stream_id, version, last, first = row
    return StreamFacts(id, str(StreamName(tenant, category, stream_id)), version, last, first, first in (None, id))


def _command(row: Any) -> CommandFacts:
    id, type, command_id, position, head, is_there, lost = row
    return CommandFacts(id, f"{type} {command_id}", position, head, is_there, lost)


async def generations_in(database: Database) -> list[Generation]:
    """Return the generations of a schema; none if it never had any."""
    async with reading(database) as connection:
        if not await has_table(connection, database, "projection_generations"):
            return []
        return [generation_of(row) for row in await connection.fetch(in_schema(GENERATIONS, database.schema))]


async def as_made(database: Database, projections: Sequence[ProjectionTables]) -> set[str]:
    """Return the names of those projections whose tables are as this code makes them."""
    return fitting(await generations_in(database), projections)


@asynccontextmanager
async def audited(database: Database) -> AsyncIterator[SchemaAudit]:
    """Open a schema for an audit, which sees what services append meanwhile.

    :raises ConfigurationError: it has no log yet. :raises StoreError: it cannot be read.
    """
    async with reading(database) as connection:
        await check_begun(connection, database)
        yield SchemaAudit(connection, database)
