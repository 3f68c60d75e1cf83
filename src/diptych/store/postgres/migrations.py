"""Brings a schema to what this code knows, by the numbered SQL files in `schema/`.

Rule: a migration that was released is never edited; the next number is added.
"""

import re
from importlib.resources import files
from typing import Final
from zlib import crc32

from diptych.errors import ConfigurationError, StoreNewerThanCodeError
from diptych.store.postgres.connection import DEFAULT_SCHEMA, DRIVER_ERRORS, Connection, Database, translate
from diptych.store.rows import quoted

_MIGRATION_SECONDS: Final = 3600.0
_SCHEMA: Final = re.compile(r"\bdiptych\.")
KEPT: Final = """
CREATE TABLE IF NOT EXISTS diptych.migrations (
    part       text NOT NULL,
    number     integer NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (part, number)
)
"""
# Not `to_regnamespace`, which may not have heard of what another session made before it gave us the lock.
_IS_NEW: Final = "SELECT count(*) = 0 FROM pg_namespace WHERE nspname = $1"
_KEEP: Final = "INSERT INTO diptych.migrations VALUES ($1, $2)"
_NEWEST: Final = "SELECT coalesce(max(number), 0) FROM diptych.migrations WHERE part = $1"


def in_schema(sql: str, schema: str) -> str:
    """Return SQL that was written for the schema `diptych`, for another one; its name may be a word of SQL."""
    return sql if schema == DEFAULT_SCHEMA else _SCHEMA.sub(f"{quoted(schema)}.", sql)


def lock_key(schema: str, purpose: str) -> int:
    """The number of an advisory lock of this schema, the same in every process."""
    text = f"diptych\0{schema}\0{purpose}"
    return (crc32(text.encode()) << 31) ^ crc32(text[::-1].encode())


def migrations(part: str, schema: str) -> list[tuple[int, str]]:
    """Numbers and SQL of all migrations of a part of a schema (`events`, `views`), in order."""
    found = [
        (int(entry.name.removeprefix(f"{part}_").removesuffix(".sql")), entry.read_text(encoding="utf-8"))
        for entry in (files("diptych.store.postgres") / "schema").iterdir()
        if entry.name.startswith(f"{part}_") and entry.name.endswith(".sql")
    ]
    return sorted((number, in_schema(sql, schema)) for number, sql in found)


async def migrate(connection: Connection, database: Database, part: str) -> None:
    """Apply what is missing, all in one transaction under a lock; a schema that is as it should be is only read.

    :raises StoreNewerThanCodeError: and nothing is touched. :raises ConfigurationError: the database is not in UTF-8.
    """
    wanted = migrations(part, database.schema)
    try:
        if await _found(connection, database, part) == wanted[-1][0]:
            return
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", lock_key(database.schema, "migrate"))
            if await connection.fetchval("SHOW server_encoding") != "UTF8":
                raise ConfigurationError(f"{database} is not in UTF-8. Create the database with ENCODING 'UTF8'.")
            if await connection.fetchval(_IS_NEW, database.schema):  # else no right is needed
                await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(database.schema)}")
            await connection.execute(in_schema(KEPT, database.schema))
            await connection.execute(f"SET LOCAL search_path = {quoted(database.schema)}, pg_catalog")
            done = await _found(connection, database, part)
            for number, sql in wanted:
                if number > done:
                    await connection.execute(sql, timeout=_MIGRATION_SECONDS)
                    await connection.execute(in_schema(_KEEP, database.schema), part, number)
    except DRIVER_ERRORS as error:
        raise translate(error, database) from error


async def check_known(connection: Connection, database: Database) -> None:
    """:raises StoreNewerThanCodeError: the schema was made by a newer version."""
    for part in ("events", "views"):
        await _found(connection, database, part)


async def _found(connection: Connection, database: Database, part: str) -> int:
    """The newest migration that was applied; 0 if none was. :raises StoreNewerThanCodeError:"""
    if await connection.fetchval("SELECT to_regclass($1)", f"{database.schema}.migrations") is None:
        return 0
    found: int = await connection.fetchval(in_schema(_NEWEST, database.schema), part)
    known = migrations(part, database.schema)[-1][0]
    if found > known:
        raise StoreNewerThanCodeError(str(database), found, known)
    return found
