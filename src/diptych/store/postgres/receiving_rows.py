"""Rows of projections that come from another store, written together with the checkpoint they were read at.

Rule: a projection is written in one transaction, or not at all; one that has begun here is left alone.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from diptych.store.batches import ProjectionTables
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection, Database, translate
from diptych.store.postgres.migrations import in_schema
from diptych.store.postgres.rows import codec_of
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.protocols import StoreSettings
from diptych.store.tables import Table

_STANDS = """
SELECT position FROM diptych.projection_checkpoints WHERE projection = $1 AND lane = 0 AND tenant = '' FOR UPDATE
"""
_LANE = """
INSERT INTO diptych.projection_checkpoints VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (projection, lane, tenant) DO UPDATE SET epoch = excluded.epoch, position = excluded.position,
    event_id = excluded.event_id, recorded_at = excluded.recorded_at
"""
_PARK = "INSERT INTO diptych.parked_events VALUES ($1, $2, $3, $4, $5)"
_PAGE = 500


class ReceivedProjection:
    """A projection inside the transaction that fills it."""

    def __init__(self, connection: Connection, schema: str, name: str) -> None:
        self._connection, self._schema, self._name = connection, schema, name

    async def write(self, table: Table, rows: Sequence[Any]) -> None:
        """Add rows."""
        codec = codec_of(table, self._schema)
        columns = [list(column) for column in zip(*map(codec.encode, rows), strict=True)]
        await self._connection.execute(codec.upsert(1, "true"), *columns)

    async def each_page(self, table: Table, look: Callable[[list[Any]], Awaitable[None]]) -> None:
        """Show all rows that are there now, built, page by page."""
        codec = codec_of(table, self._schema)
        cursor = await self._connection.cursor(codec.select)
        while found := await cursor.fetch(_PAGE):
            await look(codec.decode_all(map(tuple, found)))

    async def finish(self, lanes: Sequence[tuple[Any, ...]], parked: Sequence[tuple[Any, ...]]) -> None:
        """Say how far the rows are."""
        for sql, rows in ((_LANE, lanes), (_PARK, parked)):
            placed = in_schema(sql, self._schema)
            await self._connection.executemany(placed, [(self._name, *row) for row in rows])


async def make_tables(database: Database, projections: Sequence[ProjectionTables], store_id: UUID) -> None:
    """Make the tables of all projections, empty."""
    store = PostgresViewStore(database, StoreSettings())
    await store.open(projections, store_id=store_id)
    await store.close()


@asynccontextmanager
async def receiving(
    connection: Connection, database: Database, projection: str
) -> AsyncIterator[ReceivedProjection | None]:
    """One transaction in which a projection is filled; None when it has rows already."""
    try:
        async with connection.transaction():
            stands = await connection.fetchval(in_schema(_STANDS, database.schema), projection)
            yield ReceivedProjection(connection, database.schema, projection) if stands == 0 else None
    except DRIVER_ERRORS as error:
        raise translate(error, database) from error
