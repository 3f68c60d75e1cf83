"""The builds of projections in a schema: begun, indexed, compared, swapped and dropped, by any process.

Rule: each change is one transaction, and what it rests on is looked at inside it.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol

import asyncpg

from diptych.errors import SwapRefusedError
from diptych.store.batches import ProjectionTables
from diptych.store.generations import Comparison, Generation, placed_name
from diptych.store.postgres.comparing import compare
from diptych.store.postgres.connection import Connection, Database
from diptych.store.postgres.connections import transaction
from diptych.store.postgres.fence import UNFENCED
from diptych.store.postgres.guard import first_line
from diptych.store.postgres.migrations import in_schema
from diptych.store.postgres.shapes import Shapes
from diptych.store.postgres.showing import show_live
from diptych.store.rows import quoted

GENERATIONS: Final = """
SELECT g.projection, g.generation,
    CASE WHEN p.live = g.generation THEN 'live' WHEN g.is_kept THEN 'kept' ELSE 'building' END AS state,
    g.version, g.shape, g.lanes, g.code, g.tables, g.missing_indexes = '{}' AS is_indexed, g.since
FROM diptych.projection_generations g LEFT JOIN diptych.projections p ON p.projection = g.projection
"""  # in the order of the fields of `Generation`
_ALL: Final = f"{GENERATIONS} WHERE $1::text IS NULL OR g.projection = $1 ORDER BY g.generation"
_MISSING: Final = """
SELECT missing_indexes FROM diptych.projection_generations WHERE projection = $1 AND generation = $2 FOR UPDATE
"""
_NOTHING_MISSING: Final = "UPDATE diptych.projection_generations SET missing_indexes = '{}' WHERE generation = $1"
_LIVE: Final = "SELECT live FROM diptych.projections WHERE projection = $1 FOR UPDATE"
_STAND_STILL: Final = """
SELECT FROM diptych.projection_checkpoints WHERE projection = $1 AND generation = $2 ORDER BY lane FOR SHARE
"""
_BEHIND: Final = """
SELECT n.lane, n.position, o.position FROM diptych.projection_checkpoints n
JOIN diptych.projection_checkpoints o ON o.projection = n.projection AND o.generation = $3
WHERE n.projection = $1 AND n.generation = $2 AND n.position < o.position
    AND (o.lane = n.lane OR (SELECT count(DISTINCT lanes) FROM diptych.projection_generations
                             WHERE generation IN (n.generation, o.generation)) > 1)
ORDER BY n.position, n.lane LIMIT 1
"""
_SINCE: Final = """
UPDATE diptych.projection_generations SET since = (
    SELECT since FROM diptych.projection_generations WHERE generation = $1) WHERE generation = $2
"""
_SIZE: Final = "SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0) FROM unnest($1::text[]) AS name"
_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_ACCEPT: Final = "UPDATE diptych.projection_generations SET code = $1 WHERE generation = $2"


def generation_of(row: Iterable[Any]) -> Generation:
    """Return what a row of `GENERATIONS` says."""
    projection, number, state, version, shape, lanes, code, tables, is_indexed, since = row
    return Generation(projection, number, state, version, shape, lanes, code, tuple(tables), is_indexed, since)


Seen = Callable[[int, Mapping[str, int]], None]
"""Hear how often was swapped, and which generation of each projection is live."""


class Lending(Protocol):
    """Lends a connection of a store that is open."""

    def __call__(self) -> AbstractAsyncContextManager[Connection]:
        """:raises StoreUnavailableError: it is not open, or none is free."""
        ...


class PostgresGenerations:
    """The builds of one view store."""

    def __init__(self, lend: Lending, database: Database, reader: str, seen: Seen) -> None:
        """`lend`: connections that may be busy for long. `reader` is the role of the read side, or empty."""
        self._lend, self._database, self._reader, self._seen = lend, database, reader, seen
        self._hidden: set[str] = set()  # projections whose views show another generation still

    async def all(self, projection: str | None = None) -> Sequence[Generation]:
        """Return the generations of a projection, or of all, by number."""
        async with self._lend() as connection:
            return await self._all(connection, projection)

    async def begin(self, projection: ProjectionTables) -> Generation:
        """Make the tables of a new generation, without indexes; one that is being built for the same is returned."""
        async with self._changing() as (connection, shapes):
            for one in await self._all(connection, projection.name):
                if one.state != "building":
                    continue
                if one.fits(projection) and one.code == projection.code and await shapes.is_whole(one.number):
                    return one
                await shapes.drop(one.number)
            number = await shapes.make(projection, with_indexes=False)
            return await self._one(connection, projection.name, number)

    async def index(self, projection: str, number: int) -> None:
        """Make the indexes that `begin` left out; done again it does nothing."""
        async with self._lend() as connection, transaction(connection):
            missing = await connection.fetchval(self._sql(_MISSING), projection, number)
            if not missing:
                return
            for statement in missing:
                await connection.execute(statement)
            await connection.execute(self._sql(_NOTHING_MISSING), number)

    async def swap(self, projection: str, number: int) -> None:
        """From now on this generation is read. :raises SwapRefusedError: it is behind the live one, or not there."""
        async with self._lend() as connection:
            async with transaction(connection):
                live = await connection.fetchval(self._sql(_LIVE), projection)
                one = await self._one(connection, projection, number)
                if one.state == "live":
                    return
                if one.state == "building":
                    await self._check_is_level(connection, projection, number, live)
                shapes = Shapes(connection, self._database, self._reader)
                await shapes.set_live(projection, number)
                await connection.execute(self._sql(_SINCE), number, live)
            self._seen(*await shapes.live())
            self._hidden.add(projection)
            await self._show(connection)

    async def _check_is_level(self, connection: Connection, projection: str, number: int, live: int) -> None:
        await connection.execute(self._sql(_STAND_STILL), projection, live)  # until this transaction ends
        behind = await connection.fetchrow(self._sql(_BEHIND), projection, number, live)
        if behind is not None:
            lane, at, other = behind
            why = f"lane {lane} is at position {at}, behind the live one's {other}; catch it up first"
            raise SwapRefusedError(projection, number, why)

    async def drop(self, projection: str, number: int) -> None:
        """Drop its tables and all that is said of it. :raises SwapRefusedError: it is live.

        :raises StoreUnavailableError: somebody uses them; nobody is made to wait for that.
        """
        async with self._changing() as (connection, shapes):
            if (await self._one(connection, projection, number)).state == "live":
                why = "it is the one that is read; swap to another one first"
                raise SwapRefusedError(projection, number, why)
            try:
                await shapes.drop(number)
            except asyncpg.DependentObjectsStillExistError as error:
                why = f"something of somebody else's is made of its tables ({first_line(error)}); drop that first"
                raise SwapRefusedError(projection, number, why) from error
        self._hidden.add(projection)
        await self.show()

    async def accept(self, projection: str, number: int, code: str) -> None:
        """Note that it is as good as if this code had built it."""
        async with self._lend() as connection:
            await self._one(connection, projection, number)
            await connection.execute(self._sql(_ACCEPT), code, number)

    async def compare(
        self, projection: str, old: int, new: int, *, samples: int = 5, opened: Callable[[], None] | None = None
    ) -> Comparison:
        """Compare the rows of two generations in one snapshot. `opened` is called once it stands."""
        async with self._lend() as connection, transaction(connection, _SNAPSHOT):
            pair = await self._one(connection, projection, old), await self._one(connection, projection, new)
            if opened is not None:
                opened()
            return await compare(connection, self._database.schema, *pair, samples)

    async def size(self, projection: str, number: int) -> int:
        """Bytes that its tables and their indexes take on disk."""
        async with self._lend() as connection:
            one = await self._one(connection, projection, number)
            places = [f"{quoted(self._database.schema)}.{quoted(placed_name(name, number))}" for name in one.tables]
            return int(await connection.fetchval(_SIZE, places))

    async def unfenced(self, projection: str) -> Sequence[str]:
        """Return the names of its tables whose trigger is missing, off, or refuses nothing."""
        async with self._lend() as connection:
            generations = await self._all(connection, projection)
            places = [placed_name(name, one.number) for one in generations for name in one.tables]
            return [row[0] for row in await connection.fetch(UNFENCED, self._database.schema, places)]

    async def show(self) -> None:
        """Let views for people follow what is read, those that could not be changed when it was swapped."""
        if self._hidden:
            async with self._lend() as connection:
                await self._show(connection)

    async def show_all(self, projections: Sequence[str]) -> None:
        """See that views for people show what is read of these projections."""
        self._hidden.update(projections)
        await self.show()

    async def _show(self, connection: Connection) -> None:
        if await show_live(connection, self._database, self._hidden):
            self._hidden.clear()

    @asynccontextmanager
    async def _changing(self) -> AsyncIterator[tuple[Connection, Shapes]]:
        async with self._lend() as connection, transaction(connection):
            shapes = Shapes(connection, self._database, self._reader)
            await shapes.lock()
            yield connection, shapes

    async def _all(self, connection: Connection, projection: str | None) -> list[Generation]:
        return [generation_of(row) for row in await connection.fetch(self._sql(_ALL), projection)]

    async def _one(self, connection: Connection, projection: str, number: int) -> Generation:
        for one in await self._all(connection, projection):
            if one.number == number:
                return one
        raise SwapRefusedError(projection, number, "there is no such generation")

    def _sql(self, text: str) -> str:
        return in_schema(text, self._database.schema)
