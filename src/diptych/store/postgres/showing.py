"""Views with the plain names of read models, each of the rows that are read: for people with psql.

Rule: nothing of Diptych reads them, so that whoever holds one up is never waited for; it is tried again later.
"""

from collections.abc import Collection, Mapping
from typing import Final

import asyncpg

from diptych.store.postgres.connection import Connection, Database
from diptych.store.postgres.connections import transaction
from diptych.store.postgres.migrations import in_schema
from diptych.store.postgres.shapes import AS_CHECKPOINTS, SHOWN, Shapes
from diptych.store.rows import quoted

_PATIENCE: Final = "100ms"
_WANTED: Final = """
SELECT name, name || '__g' || p.live FROM diptych.projections p
JOIN diptych.projection_generations g ON g.generation = p.live CROSS JOIN unnest(g.tables) AS name
WHERE p.projection = ANY($1)
"""


async def show_live(connection: Connection, database: Database, projections: Collection[str]) -> bool:
    """Let the views of these projections show their live generations; False where one could not be changed now."""
    if not await _hidden(connection, database, projections):
        return True
    try:
        async with transaction(connection):
            await connection.execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
            await Shapes(connection, database, "").lock()
            for name, place in (await _hidden(connection, database, projections)).items():
                await _show(connection, database, name, place)
    except asyncpg.PostgresError:  # in use, or not ours to change, or something else was made of it
        return False
    return True


async def _hidden(connection: Connection, database: Database, projections: Collection[str]) -> Mapping[str, str]:
    shown = set(map(tuple, await connection.fetch(SHOWN, database.schema)))
    wanted = await connection.fetch(in_schema(_WANTED, database.schema), list(projections))
    return dict(each for each in map(tuple, wanted) if each not in shown)


async def _show(connection: Connection, database: Database, name: str, place: str) -> None:
    schema = quoted(database.schema)
    view = f"{schema}.{quoted(name)}"
    create = f"VIEW {view} AS SELECT * FROM {schema}.{quoted(place)}"  # noqa: S608 - quoted names
    await connection.execute("SAVEPOINT as_it_was")
    try:
        await connection.execute(f"CREATE OR REPLACE {create}")
    except asyncpg.InvalidTableDefinitionError:  # its columns are others
        await connection.execute(f"ROLLBACK TO as_it_was; DROP VIEW {view}; CREATE {create}")
    for (grant,) in await connection.fetch(AS_CHECKPOINTS, view, f"{schema}.projection_checkpoints", ["SELECT"]):
        await connection.execute(grant)
