"""The tables of projections: created, and dropped when their shape or version is another one.

Rule: runs in one transaction under a lock, and finds by itself what is to be done; running it again changes nothing.
"""

from collections.abc import Collection, Sequence
from hashlib import blake2b
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

from diptych.errors import ConfigurationError, OtherHistoryError, StoreNewerThanCodeError
from diptych.store.postgres.connection import Connection, Database
from diptych.store.postgres.rows import schema
from diptych.store.protocols import ProjectionTables
from diptych.store.rows import quoted
from diptych.store.tables import fingerprint

VIEWS_SCHEMA: Final = 1


def digest(projection: ProjectionTables) -> str:
    """Return what is kept of the shape of its tables."""
    return blake2b(fingerprint(projection.tables).encode(), digest_size=16).hexdigest()


class Shapes:
    """Makes the tables, on a connection that is in a transaction."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self._connection, self._database, self._place = connection, database, quoted(database.schema)

    async def prepare(self, store_id: UUID) -> None:
        """Create our own tables where they lack; refuse those of a newer Diptych or of another event store."""
        connection = self._connection
        key = int.from_bytes(blake2b(f"views {self._place}".encode(), digest_size=8).digest(), signed=True)
        await connection.execute("SELECT pg_advisory_xact_lock($1)", key)
        if await connection.fetchval("SELECT to_regnamespace($1) IS NULL", self._place):
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._place}")
        await connection.execute(f"SET LOCAL search_path TO {self._place}")
        if not await self._exists("view_store"):
            await connection.execute(_script(VIEWS_SCHEMA))
            await connection.execute("INSERT INTO view_store VALUES (true, $1, $2)", VIEWS_SCHEMA, store_id)
        found: Any = await connection.fetchrow("SELECT schema_version, store_id FROM view_store")
        if found[0] > VIEWS_SCHEMA:
            raise StoreNewerThanCodeError(f"{self._database} (rows)", found[0], VIEWS_SCHEMA)
        if found[1] != store_id:
            position = await connection.fetchval("SELECT coalesce(max(position), 0) FROM projection_checkpoints")
            where = f"{self._database} (its rows; delete them and they are built again)"
            raise OtherHistoryError(where, position)

    async def shape(self, projections: Sequence[ProjectionTables], others: Collection[str]) -> None:
        """Give each projection its tables; one whose shape or version differs loses its rows and starts from 0.

        `others` are projections that another store keeps in the same schema.
        """
        anew = [each for each in projections if not await self._is_whole(each)]
        for projection in anew:  # all of them first: a table may go from one to another
            await self._drop(projection.name)
        current = {each.name for each in projections} | set(others)
        for projection in anew:
            await self._make(projection, current)

    async def _is_whole(self, projection: ProjectionTables) -> bool:
        row = await self._connection.fetchrow(
            "SELECT version, fingerprint FROM projection_shapes WHERE projection = $1", projection.name
        )
        if row is None or tuple(row) != (projection.version, digest(projection)):
            return False
        return all([await self._exists(table.name) for table in projection.tables])

    async def _make(self, projection: ProjectionTables, current: Collection[str]) -> None:
        connection = self._connection
        for table in projection.tables:
            await self._make_room(projection.name, table.name, current)
            for statement in schema(table, self._database.schema):
                await connection.execute(statement)
        names = [table.name for table in projection.tables]
        shape = (projection.name, projection.version, digest(projection), names)
        await connection.execute("INSERT INTO projection_shapes VALUES ($1, $2, $3, $4)", *shape)
        beginning = "INSERT INTO projection_checkpoints VALUES ($1, 0, '', 0, 0, '', 0)"
        await connection.execute(beginning, projection.name)

    async def _drop(self, projection: str) -> None:
        tables = await self._connection.fetchval(
            "SELECT tables FROM projection_shapes WHERE projection = $1", projection
        )
        for name in tables or ():
            await self._connection.execute(f"DROP TABLE IF EXISTS {self._place}.{quoted(name)}")
        for ours in ("projection_shapes", "projection_checkpoints", "parked_events"):
            await self._connection.execute(f"DELETE FROM {ours} WHERE projection = $1", projection)  # noqa: S608

    async def _make_room(self, projection: str, table: str, current: Collection[str]) -> None:
        """Take a table's name over from a projection that is no more; refuse a name that is somebody else's."""
        if not await self._exists(table):
            return
        owner = await self._connection.fetchval(
            "SELECT projection FROM projection_shapes WHERE $1 = ANY(tables)", table
        )
        if owner is None or owner in current:
            whose = f"projection {owner}" if owner else "Diptych itself"
            raise ConfigurationError(
                f"{projection}: the table {table} belongs to {whose}. Give the read model another name."
            )
        await self._drop(owner)

    async def _exists(self, table: str) -> bool:
        found = await self._connection.fetchval("SELECT to_regclass($1)", f"{self._place}.{quoted(table)}")
        return found is not None


def _script(version: int) -> str:
    folder = files("diptych.store.postgres") / "schema"
    return (folder / f"views_{version:04d}.sql").read_text("utf-8")
