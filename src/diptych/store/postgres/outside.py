"""Looks things up in a schema from outside.

Rule: read-only sessions; nothing is created, migrated, locked or started.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from diptych.errors import ConfigurationError
from diptych.events.recorded import StoredEvent
from diptych.store.outside import CommandTrace, KindCount, Sought
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection, Database, open_connection, translate
from diptych.store.postgres.connections import close_connection
from diptych.store.postgres.log import SETTINGS, Log
from diptych.store.postgres.migrations import check_known, in_schema
from diptych.store.protocols import Head, Page
from diptych.stream import StreamName

_COMMANDS: Final = """
SELECT command_type, tenant, user_id, position, recorded_at FROM diptych.commands WHERE command_id = $1
ORDER BY position
"""
_POSITIONS: Final = """
SELECT position FROM diptych.events e WHERE position > $1 AND position <= $2
    AND ($3::text[] = '{}' OR type = ANY(ARRAY(SELECT id FROM diptych.event_types WHERE name = ANY($3))))
    AND ($4 OR (SELECT coalesce($5, tenant) = tenant AND lower(coalesce($6, category)) = lower(category)
                AND coalesce($7, stream_id) = stream_id FROM diptych.streams WHERE id = e.stream))
    AND NOT EXISTS (SELECT FROM unnest($8::text[]) u (text) WHERE strpos(e.metadata::text, u.text) = 0)
    AND ($9 = '' OR strpos(payload::text, $9) > 0)
ORDER BY position DESC
"""
_KINDS: Final = """
SELECT t.name, e.schema_version, e.count, e.first, e.last
FROM (SELECT type, schema_version, count(*), min(position) AS first, max(position) AS last
      FROM diptych.events WHERE position > $1 GROUP BY type, schema_version) e
JOIN diptych.event_types t ON t.id = e.type ORDER BY 1, 2
"""


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[Connection]:
    """Lend a connection that can read and nothing else; errors in the block come out as ours.

    :raises StoreNewerThanCodeError: :raises StoreError:
    """
    connection = await open_connection(database, {**SETTINGS, "default_transaction_read_only": "on"}, writes=False)
    try:
        await check_known(connection, database)
        yield connection
    except DRIVER_ERRORS as error:
        raise translate(error, database) from error
    finally:
        await close_connection(connection)


async def has_table(connection: Connection, database: Database, table: str) -> bool:
    """Whether the schema has such a table."""
    return bool(await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{database.schema}.{table}"))


async def check_begun(connection: Connection, database: Database) -> None:
    """:raises ConfigurationError: there is no log in the schema yet."""
    if not await has_table(connection, database, "events"):
        raise ConfigurationError(f"{database} has no log yet: the service has not run, or has another schema.")


class OutsideSchema:
    """A schema to look things up in."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self.place, self._connection, self._database = str(database), connection, database
        self._log = Log(database.schema)

    async def head(self) -> Head:
        """The end of the log now."""
        return await self._log.head(self._connection)

    async def read_stream(self, stream: StreamName) -> Sequence[StoredEvent]:
        """Return the events of a stream in order."""
        return await self._log.stream(self._connection, stream, 1)

    async def read_log(self, *, after: int, limit: int) -> Page:
        """Return up to `limit` events after a position."""
        return await self._log.page(self._connection, after, None, limit)

    async def streams_of(self, id: UUID) -> Sequence[StreamName]:
        """Return all streams with this id."""
        return await self._log.streams_of(self._connection, id)

    async def commands_of(self, id: UUID) -> Sequence[CommandTrace]:
        """Return the commands that took effect under this id."""
        found = await self._rows(_COMMANDS, id)
        return [CommandTrace(kind, id, tenant, user, at, time) for kind, tenant, user, at, time in found]

    async def positions(self, sought: Sought, *, after: int, through: int) -> Sequence[int]:
        """Return where such events are, the newest first."""
        types, *stream, beside, payload = sought
        is_any_stream = stream == [None, None, None]
        values = (after, through, types, is_any_stream, *stream, beside, payload)
        return [row[0] for row in await self._rows(_POSITIONS, *values)]

    async def kinds(self, *, after: int = 0) -> Sequence[KindCount]:
        """Count the events after a position by stored name and schema version."""
        return [KindCount(*row) for row in await self._rows(_KINDS, after)]

    async def _rows(self, sql: str, *values: Any) -> Sequence[Any]:
        return await self._connection.fetch(in_schema(sql, self._database.schema), *values)


@asynccontextmanager
async def outside(database: Database) -> AsyncIterator[OutsideSchema]:
    """Open a schema to look at. :raises ConfigurationError: it has no log yet. :raises StoreError:"""
    async with reading(database) as connection:
        await check_begun(connection, database)
        yield OutsideSchema(connection, database)
