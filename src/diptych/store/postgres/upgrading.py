"""What a schema is at, and the SQL that would bring it there from nothing.

Rule: nothing is changed here; `migrate` does that.
"""

from typing import Final

from diptych.store.postgres.connection import DRIVER_ERRORS, Database, open_connection, translate
from diptych.store.postgres.connections import close_connection
from diptych.store.postgres.migrations import KEPT, in_schema, migrations
from diptych.store.rows import quoted

PARTS: Final = ("events", "views")


async def versions(database: Database) -> dict[str, int]:
    """The newest migration of each part that was applied; 0 if none was."""
    connection = await open_connection(database, {})
    try:
        found = dict.fromkeys(PARTS, 0)
        if await connection.fetchval("SELECT to_regclass($1)", f"{database.schema}.migrations") is not None:
            sql = in_schema("SELECT part, max(number) FROM diptych.migrations GROUP BY part", database.schema)
            found.update({part: number for part, number in await connection.fetch(sql) if part in found})
        return found
    except DRIVER_ERRORS as error:
        raise translate(error, database) from error
    finally:
        await close_connection(connection)


def newest(part: str) -> int:
    """The newest migration of a part that this code knows."""
    return migrations(part, "diptych")[-1][0]


def script(schema: str) -> str:
    """Return all migrations as they would run on a database that has none of them."""
    pieces = ["BEGIN;", f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)};", in_schema(KEPT, schema).strip() + ";"]
    for part in PARTS:
        for number, sql in migrations(part, schema):
            pieces.append(f"-- {part}_{number:04d}.sql\n{sql.strip()}")
            pieces.append(in_schema(f"INSERT INTO diptych.migrations VALUES ('{part}', {number});", schema))  # noqa: S608
    return "\n\n".join([*pieces, "COMMIT;"]) + "\n"
