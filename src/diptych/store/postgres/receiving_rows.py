"""Rows of projections that come from another store, written together with the checkpoint they were read at.

Rule: a projection is written in one transaction, or not at all; one that has begun here is left alone.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from diptych.store.batches import ProjectionTables
from diptych.store.generations import placed
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection, Database, translate
from diptych.store.postgres.migrations import in_schema
from diptych.store.postgres.rows import codec_of
from diptych.store.postgres.shapes import Shapes
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.protocols import StoreSettings
from diptych.store.tables import Table

_STANDS = """
SELECT c.generation, c.position FROM diptych.projections p
JOIN diptych.projection_checkpoints c ON c.projection = p.projection AND c.generation = p.live
WHERE p.projection = $1 ORDER BY c.lane FOR UPDATE
"""
_FITS = """
SELECT version = $2 AND shape = $3 AND lanes = $4 FROM diptych.projection_generations WHERE generation = $1
"""
_LANE = """
UPDATE diptych.projection_checkpoints SET epoch = $5, position = $6, event_id = $7, recorded_at = $8
WHERE projection = $1 AND generation = $2 AND lane = $3 AND tenant = $4
"""
_PARK = """
INSERT INTO diptych.parked_events (projection, generation, position, key, tenant, error, lane)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_PAGE = 500


class ReceivedProjection:
    """The live generation of a projection, inside the transaction that fills it."""

    def __init__(self, connection: Connection, schema: str, name: str, number: int) -> None:
        self._connection, self._schema, self._name, self._number = connection, schema, name, number

    async def write(self, table: Table, rows: Sequence[Any]) -> None:
        """Add rows."""
        codec = codec_of(placed(table, self._number), self._schema)
        columns = [list(column) for column in zip(*map(codec.encode, rows), strict=True)]
        await self._connection.execute(codec.upsert(1, "true"), *columns)

    async def each_page(self, table: Table, look: Callable[[list[Any]], Awaitable[None]]) -> None:
        """Show all rows that are there now, built, page by page."""
        codec = codec_of(placed(table, self._number), self._schema)
        cursor = await self._connection.cursor(codec.select)
        while found := await cursor.fetch(_PAGE):
            await look(codec.decode_all(map(tuple, found)))

    async def finish(self, lanes: Sequence[tuple[Any, ...]], parked: Sequence[tuple[Any, ...]]) -> None:
        """Say how far the rows are."""
        for sql, rows in ((_LANE, lanes), (_PARK, parked)):
            placed = in_schema(sql, self._schema)
            await self._connection.executemany(placed, [(self._name, self._number, *row) for row in rows])


async def make_tables(database: Database, projections: Sequence[ProjectionTables], store_id: UUID) -> None:
    """Make the tables of all projections, empty."""
    store = PostgresViewStore(database, StoreSettings())
    await store.open(projections, store_id=store_id)
    await store.close()


@asynccontextmanager
async def receiving(
    connection: Connection, database: Database, projection: ProjectionTables
) -> AsyncIterator[ReceivedProjection | None]:
    """One transaction in which a projection is filled; None when it has begun here."""
    try:
        async with connection.transaction():
            number = await _empty(connection, database, projection)
            schema, name = database.schema, projection.name
            yield None if number is None else ReceivedProjection(connection, schema, name, number)
    except DRIVER_ERRORS as error:
        raise translate(error, database) from error


async def _empty(connection: Connection, database: Database, projection: ProjectionTables) -> int | None:
    """Return the generation that is read, none of whose lanes has begun; of an earlier version's, another one.

    None when it has begun.
    """
    places = await connection.fetch(in_schema(_STANDS, database.schema), projection.name)
    if any(position for _, position in places):
        return None
    number: int = places[0][0]
    like = (projection.version, projection.shape, projection.lanes)
    if not await connection.fetchval(in_schema(_FITS, database.schema), number, *like):
        shapes = Shapes(connection, database, "")
        await shapes.lock()
        await shapes.drop(number)
        await shapes.make_first([projection])
        number = (await shapes.live())[1][projection.name]
    return number
