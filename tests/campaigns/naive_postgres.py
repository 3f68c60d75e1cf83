"""An event store on PostgreSQL as it is often written: positions of a sequence, and `position > last` to follow it.

It is here to be caught, beside the naive store in memory; it does what those tests ask of it and no more.
"""

import asyncpg

from diptych.events.recorded import StoredEvent, checksum
from diptych.store.protocols import Append, Appended, Head, Page
from tests.campaigns.naive import NaiveStore

_TABLE = """
CREATE SCHEMA IF NOT EXISTS {0};
CREATE TABLE IF NOT EXISTS {0}.events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, category text, stream uuid, version int, event_id bytea,
    type text, payload text, UNIQUE (stream, version)
)"""
_INSERT = """INSERT INTO {0}.events (category, stream, version, event_id, type, payload) VALUES
    ($1, $2, 1 + (SELECT count(*) FROM {0}.events WHERE stream = $2), $3, $4, $5) RETURNING position, version"""
_AFTER = """SELECT position, category, stream, version, event_id, type, payload
    FROM {0}.events WHERE position > $1 ORDER BY position LIMIT $2"""


class NaivePostgresStore(NaiveStore):
    """Right about versions, wrong about what a reader may believe."""

    def __init__(self, dsn: str, schema: str) -> None:
        super().__init__()
        self._schema = schema
        self._pool: asyncpg.Pool[asyncpg.Record] = asyncpg.create_pool(dsn, min_size=0)

    async def open(self) -> None:
        """Create its table."""
        await self._pool
        await self._pool.execute(_TABLE.format(self._schema))

    async def close(self) -> None:
        """Close its connections."""
        await self._pool.close()

    async def append(self, append: Append) -> Appended:
        """Insert the events of one write in a transaction: whoever commits first is seen first."""
        (write,) = append.writes
        async with self._pool.acquire() as connection, connection.transaction():
            for event in write.events:
                row = (write.stream.category, write.stream.id, event.event_id, event.type, event.payload)
                placed = await connection.fetchrow(_INSERT.format(self._schema), *row)
        assert placed is not None
        return Appended(placed["position"], write.events[-1].event_id, 0, (placed["version"],))

    async def read_log(self, *, after: int, types: frozenset[str] | None = None, limit: int = 1000) -> Page:
        """`position > after`, in order: the query that skips."""
        head = await self.head()
        rows = [_stored(row) for row in await self._pool.fetch(_AFTER.format(self._schema), after, limit)]
        chosen = [row for row in rows if types is None or row.type in types]
        last = rows[-1].position if rows else after
        return Page(after, last, chosen, Head(max(head.position, last)))

    async def head(self) -> Head:
        """The highest visible position."""
        return Head(await self._pool.fetchval(f"SELECT coalesce(max(position), 0) FROM {self._schema}.events"))


def _stored(raw: asyncpg.Record) -> StoredEvent:
    position, category, stream, version, event_id, type, payload = raw
    row = (position, "", category, str(stream), version, event_id, type, 1, 0, payload, "{}", 0)
    return StoredEvent(*row, checksum(row))
