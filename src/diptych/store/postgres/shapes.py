"""A schema of rows made ready: whose it is, and for each projection that was never seen a first generation.

Rule: runs in one transaction under a lock, and finds by itself what is to be done; running it again changes nothing.
"""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from diptych.errors import ConfigurationError, OtherHistoryError
from diptych.store.batches import ProjectionTables
from diptych.store.generations import placed, placed_name
from diptych.store.postgres.connection import Connection, Database
from diptych.store.postgres.fence import fence
from diptych.store.postgres.migrations import in_schema, lock_key
from diptych.store.postgres.rows import schema
from diptych.store.rows import quoted
from diptych.store.tables import plain_name

NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
AS_CHECKPOINTS: Final = """
SELECT format('GRANT %s ON %s TO %I', held.privilege_type, $1::text, role.rolname)
FROM pg_class checkpoints, aclexplode(checkpoints.relacl) held JOIN pg_roles role ON role.oid = held.grantee
WHERE checkpoints.oid = to_regclass($2) AND held.grantee <> checkpoints.relowner AND held.privilege_type = ANY($3)
"""  # a role that may read or write how far rows are may do so with the rows, see `diptych db grants`
SHOWN: Final = """
SELECT DISTINCT v.relname::text, t.relname::text FROM pg_class v JOIN pg_rewrite r ON r.ev_class = v.oid
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class t ON t.oid = d.refobjid AND t.oid <> v.oid
WHERE v.relkind = 'v' AND v.relnamespace = to_regnamespace($1)
"""  # which view shows which table
_DROP_SECONDS: Final = 0.1  # to wait for whoever uses a table that is to be dropped, while others wait behind us
_ALL: Final = ["SELECT", "INSERT", "UPDATE", "DELETE"]
_OURS: Final = ("projection_generations", "projection_checkpoints", "parked_events")
_RELATIONS: Final = """
SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relname = ANY($2::text[])
    AND relkind <> 'v'
"""
_HIDDEN: Final = """
SELECT one.name FROM unnest($2::text[]) AS one (name)
WHERE to_regclass(one.name) IS NOT NULL AND NOT has_any_column_privilege($1::name, one.name, 'SELECT')
"""
_MAY_LOOK: Final = "SELECT has_schema_privilege($1::name, $2::text, 'USAGE')"
_MAY_BE: Final = "SELECT pg_has_role(oid, 'SET') FROM pg_roles WHERE rolname = $1"
_LIVE: Final = "SELECT live FROM diptych.projections WHERE projection = $1"
_NEXT: Final = "UPDATE diptych.view_store SET last_generation = last_generation + 1 RETURNING last_generation"
_GENERATION: Final = f"INSERT INTO diptych.projection_generations VALUES ($1, $2, false, $3, $4, $5, $6, $7, $8, {NOW})"  # noqa: S608 - a constant
_LANES: Final = """
INSERT INTO diptych.projection_checkpoints (projection, generation, lane, epoch, position, event_id, recorded_at)
SELECT $1, $2, lane, 0, 0, ''::bytea, 0 FROM generate_series(0, $3 - 1) AS lane
"""
_ANSWER_ALL: Final = "UPDATE diptych.projection_requests SET outcome = $1 WHERE generation = $2 AND outcome = ''"
_SET_LIVE: Final = "UPDATE diptych.projections SET live = $2 WHERE projection = $1"
_FIRST_LIVE: Final = "INSERT INTO diptych.projections (projection, live) VALUES ($1, $2)"
_IS_LIVE: Final = f"UPDATE diptych.projection_generations SET is_kept = true, since = {NOW} WHERE generation = $1"  # noqa: S608 - a constant


class Shapes:
    """Makes and drops what rows are kept in, on a connection that is in a transaction."""

    def __init__(self, connection: Connection, database: Database, reader: str) -> None:
        """`reader` is the role that sees the rows and nothing else, or empty."""
        self._connection, self._database, self._place = connection, database, quoted(database.schema)
        self._reader = reader

    async def lock(self) -> None:
        """Let no other process make or drop tables until the transaction ends."""
        await self._connection.execute("SELECT pg_advisory_xact_lock($1)", lock_key(self._database.schema, "views"))

    async def prepare(self, store_id: UUID) -> None:
        """Say whose rows these are, if nobody has; refuse those of another event store."""
        connection = self._connection
        if await connection.fetchval(self._sql("SELECT store_id FROM diptych.view_store")) is None:
            await connection.execute(self._sql("INSERT INTO diptych.view_store VALUES (true, $1)"), store_id)
        if await connection.fetchval(self._sql("SELECT store_id FROM diptych.view_store")) != store_id:
            last = "SELECT coalesce(max(position), 0) FROM diptych.projection_checkpoints"
            where = f"{self._database} (its rows; delete them and they are built again)"
            raise OtherHistoryError(where, await connection.fetchval(self._sql(last)))
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
            await self._connection.execute(f'GRANT USAGE ON SCHEMA {self._place} TO "{self._reader}"')
        await self._show(["projection_checkpoints", "parked_events", "projections"])
        await self._show(["view_store"], "SELECT (swaps)")

    async def _show(self, names: Collection[str], right: str = "SELECT") -> None:
        places = [f"{self._place}.{quoted(name)}" for name in names]
        for (place,) in await self._connection.fetch(_HIDDEN, self._reader, places):
            await self._connection.execute(f'GRANT {right} ON {place} TO "{self._reader}"')  # only the owner may

    async def make_first(self, projections: Sequence[ProjectionTables]) -> None:
        """Give each projection that was never seen a generation, which is live.

        One whose tables somebody dropped by hand gets another: it is built again.
        """
        await self._refuse_taken(projections)
        for projection in projections:
            live = await self._connection.fetchval(self._sql(_LIVE), projection.name)
            if live is not None and not await self.is_whole(live):
                await self.drop(live)
                live = None
            if live is None:
                await self.set_live(projection.name, await self.make(projection))
        if self._reader:
            names = [each.name for each in projections]
            of_all = "SELECT generation, tables FROM diptych.projection_generations WHERE projection = ANY($1)"
            for number, tables in await self._connection.fetch(self._sql(of_all), names):
                await self._show([placed_name(name, number) for name in tables])

    async def _refuse_taken(self, projections: Sequence[ProjectionTables]) -> None:
        """People find rows by the plain names of tables, so these must be free, or views that show such rows."""
        owners = {table.name: each.name for each in projections for table in each.tables}
        taken = {name for (name,) in await self._connection.fetch(_RELATIONS, self._database.schema, list(owners))}
        shown = await self._connection.fetch(SHOWN, self._database.schema)
        foreign = {view for view, table in shown if plain_name(table) != view}
        for table in sorted((taken | foreign) & owners.keys()):
            whose = "Diptych itself" if table in taken else "somebody else, who made a view of that name"
            raise ConfigurationError(
                f"{owners[table]}: the table {table} belongs to {whose}. Give the read model another name."
            )

    async def live(self) -> tuple[int, dict[str, int]]:
        """Return how often was swapped, and which generation of each projection is live."""
        swaps: int = await self._connection.fetchval(self._sql("SELECT swaps FROM diptych.view_store"))
        found = await self._connection.fetch(self._sql("SELECT projection, live FROM diptych.projections"))
        return swaps, {name: live for name, live in found}  # noqa: C416

    async def make(self, projection: ProjectionTables, *, with_indexes: bool = True) -> int:
        """Make the tables of a new generation, its lanes at the beginning. Returns its number; it is not read yet."""
        connection = self._connection
        number: int = await connection.fetchval(self._sql(_NEXT))
        missing: list[str] = []
        for table in (placed(each, number) for each in projection.tables):
            create, *indexes = schema(table, self._database.schema)
            for statement in [create, *fence(table.name, self._database.schema), *(indexes if with_indexes else ())]:
                await connection.execute(statement)
            missing += [] if with_indexes else indexes
            name, checkpoints = f"{self._place}.{quoted(table.name)}", f"{self._place}.projection_checkpoints"
            for (grant,) in await connection.fetch(AS_CHECKPOINTS, name, checkpoints, _ALL):
                await connection.execute(grant)
        names = [table.name for table in projection.tables]
        told = (projection.version, projection.shape, projection.lanes, projection.code, names, missing)
        await connection.execute(self._sql(_GENERATION), number, projection.name, *told)
        await connection.execute(self._sql(_LANES), projection.name, number, projection.lanes)
        return number

    async def set_live(self, projection: str, number: int) -> None:
        """From now on this generation is read."""
        if await self._connection.execute(self._sql(_SET_LIVE), projection, number) == "UPDATE 0":
            await self._connection.execute(self._sql(_FIRST_LIVE), projection, number)
        await self._connection.execute(self._sql("UPDATE diptych.view_store SET swaps = swaps + 1"))
        await self._connection.execute(self._sql(_IS_LIVE), number)

    async def drop(self, number: int) -> None:
        """Drop the tables of a generation, what shows them to people, and all that is said of it."""
        connection = self._connection
        await connection.execute(f"SET LOCAL lock_timeout = {int(_DROP_SECONDS * 1000)}")
        tables = await self._tables(number)
        for view, table in await connection.fetch(SHOWN, self._database.schema):
            if table in tables and view == plain_name(table):
                await connection.execute(f"DROP VIEW {self._place}.{quoted(view)}")
        places = ", ".join(f"{self._place}.{quoted(name)}" for name in await self._existing(tables))
        if places:  # before any row of ours: whoever commits a batch has its table before its checkpoint
            await connection.execute(f"LOCK TABLE {places} IN ACCESS EXCLUSIVE MODE")
        for ours in _OURS:
            await connection.execute(self._sql(f"DELETE FROM diptych.{ours} WHERE generation = $1"), number)  # noqa: S608 - a constant
        await connection.execute(self._sql("DELETE FROM diptych.projections WHERE live = $1"), number)
        await connection.execute(self._sql(_ANSWER_ALL), f"Generation {number} is gone.", number)
        if places:
            await connection.execute(f"DROP TABLE {places}")

    async def is_whole(self, number: int) -> bool:
        """Whether all tables of a generation are there."""
        tables = await self._tables(number)
        return len(await self._existing(tables)) == len(tables)

    async def _tables(self, number: int) -> list[str]:
        found = "SELECT tables FROM diptych.projection_generations WHERE generation = $1"
        names: Sequence[str] = await self._connection.fetchval(self._sql(found), number) or ()
        return [placed_name(name, number) for name in names]

    async def _existing(self, tables: Sequence[str]) -> list[str]:
        found = await self._connection.fetch(_RELATIONS, self._database.schema, list(tables))
        return sorted(name for (name,) in found)

    def _sql(self, text: str) -> str:
        return in_schema(text, self._database.schema)
