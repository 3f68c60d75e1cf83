"""The tables of projections: created, and dropped when their shape or version is another one.

Rule: runs in one transaction under a lock, and finds by itself what is to be done; running it again changes nothing.
"""

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Final
from uuid import UUID

from diptych.errors import ConfigurationError, OtherHistoryError
from diptych.store.batches import ProjectionTables
from diptych.store.postgres.connection import Connection, Database
from diptych.store.postgres.migrations import lock_key
from diptych.store.postgres.rows import schema
from diptych.store.rows import quoted
from diptych.store.tables import fingerprint

_AS_CHECKPOINTS: Final = """
SELECT format('GRANT %s ON %s TO %I', held.privilege_type, $1::text, role.rolname)
FROM pg_class checkpoints, aclexplode(checkpoints.relacl) held JOIN pg_roles role ON role.oid = held.grantee
WHERE checkpoints.oid = to_regclass($2) AND held.grantee <> checkpoints.relowner
    AND held.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
"""  # a role that may read or write how far rows are may do so with the rows, see `diptych db grants`
_MAY_LOOK: Final = "SELECT has_schema_privilege($1::name, $2::text, 'USAGE')"
_MAY_READ: Final = "SELECT has_table_privilege($1::name, $2::text, 'SELECT')"
_MAY_BE: Final = "SELECT pg_has_role(oid, 'SET') FROM pg_roles WHERE rolname = $1"


def digest(projection: ProjectionTables) -> str:
    """Return what is kept of the shape of its tables."""
    return blake2b(fingerprint(projection.tables).encode(), digest_size=16).hexdigest()


class Shapes:
    """Makes the tables, on a connection that is in a transaction."""

    def __init__(self, connection: Connection, database: Database, reader: str) -> None:
        """`reader` is the role that sees the rows and nothing else, or empty."""
        self._connection, self._database, self._place = connection, database, quoted(database.schema)
        self._reader, self._role = reader, f'"{reader}"'

    async def prepare(self, store_id: UUID) -> None:
        """Say whose rows these are, if nobody has; refuse those of another event store."""
        connection = self._connection
        await connection.execute("SELECT pg_advisory_xact_lock($1)", lock_key(self._database.schema, "views"))
        await connection.execute(f"SET LOCAL search_path TO {self._place}")
        if await connection.fetchval("SELECT store_id FROM view_store") is None:
            await connection.execute("INSERT INTO view_store VALUES (true, $1)", store_id)
        if await connection.fetchval("SELECT store_id FROM view_store") != store_id:
            position = await connection.fetchval("SELECT coalesce(max(position), 0) FROM projection_checkpoints")
            where = f"{self._database} (its rows; delete them and they are built again)"
            raise OtherHistoryError(where, position)
        if self._reader:
            await self._welcome()

    async def _welcome(self) -> None:
        """Let the role of the read side in, and see to what it needs beside rows. It is made by the administrator."""
        if not await self._connection.fetchval(_MAY_BE, self._reader):
            raise ConfigurationError(
                f"{self._database}: this user cannot act as the role {self._reader}. As an administrator run "
                f"CREATE ROLE {self._reader}; GRANT {self._reader} TO CURRENT_USER with the name of this user."
            )
        if not await self._connection.fetchval(_MAY_LOOK, self._reader, self._database.schema):
            await self._connection.execute(f"GRANT USAGE ON SCHEMA {self._place} TO {self._role}")
        for table in ("projection_checkpoints", "parked_events"):
            await self._show(table)

    async def _show(self, table: str) -> None:
        name = f"{self._place}.{quoted(table)}"
        if not await self._connection.fetchval(_MAY_READ, self._reader, name):
            await self._connection.execute(f"GRANT SELECT ON {name} TO {self._role}")  # only the owner may

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
        for table in [table.name for each in projections for table in each.tables if self._reader]:
            await self._show(table)

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
            name = f"{self._place}.{quoted(table.name)}"
            for (grant,) in await connection.fetch(_AS_CHECKPOINTS, name, f"{self._place}.projection_checkpoints"):
                await connection.execute(grant)
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
