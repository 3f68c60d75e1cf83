"""The tables of projections: created, and dropped when their shape or version is another one.

Rule: runs on the writer's connection alone, and finds by itself what has to be done; running it again changes nothing.
"""

import json
from collections.abc import Collection, Sequence
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

import apsw

from diptych.errors import ConfigurationError, OtherHistoryError, StoreNewerThanCodeError
from diptych.store.batches import ProjectionTables
from diptych.store.owners import refuse_shared
from diptych.store.rows import quoted
from diptych.store.sqlite.connection import DatabaseFile
from diptych.store.sqlite.rows import schema
from diptych.store.tables import fingerprint

VIEWS_SCHEMA: Final = 1
VIEWS_APPLICATION_ID: Final = 0x44505456  # "DPTV"


def prepare(connection: apsw.Connection, file: DatabaseFile, store_id: UUID) -> None:
    """Create our own tables in a file that lacks them; refuse those of a newer Diptych or of another event store."""
    with connection:
        if not _exists(connection, "view_store"):
            connection.execute(_script(VIEWS_SCHEMA))
            if file.application_id == VIEWS_APPLICATION_ID:
                connection.pragma("application_id", VIEWS_APPLICATION_ID)
                connection.pragma("user_version", VIEWS_SCHEMA)
        if connection.execute("SELECT 1 FROM view_store").get is None:
            connection.execute("INSERT INTO view_store VALUES (1, ?, ?)", (VIEWS_SCHEMA, str(store_id)))
        version, found = connection.execute("SELECT schema_version, store_id FROM view_store").get
        if version > VIEWS_SCHEMA:
            raise StoreNewerThanCodeError(f"{file.path} (rows)", version, VIEWS_SCHEMA)
        if found != str(store_id):
            position = connection.execute("SELECT coalesce(max(position), 0) FROM projection_checkpoints").get
            raise OtherHistoryError(f"{file.path} (delete it and it is built again)", position)


def _script(version: int) -> str:
    folder = files("diptych.store.sqlite") / "schema"
    return (folder / f"views_{version:04d}.sql").read_text("utf-8")


def shape(connection: apsw.Connection, projections: Sequence[ProjectionTables], *, is_again: bool = False) -> None:
    """Give each projection its tables; one whose shape or version differs loses its rows and starts again from 0.

    `is_again`: a connection was lost and opened anew. What differs then is the work of another process, and is left.
    """
    refuse_shared(projections)
    with connection:
        anew = [
            each
            for each in projections
            if not (is_again and _shape_of(connection, each.name)) and not _is_whole(connection, each)
        ]
        for projection in anew:  # all of them first: a table may go from one to another
            _drop(connection, projection.name)
        for projection in anew:
            _shape_one(connection, projection, {each.name for each in projections})


def has_shape(connection: apsw.Connection, projection: ProjectionTables) -> bool:
    """Whether the tables of a projection still are as this process made or found them."""
    return bool(_shape_of(connection, projection.name) == (projection.version, fingerprint(projection.tables)))


def _shape_of(connection: apsw.Connection, projection: str) -> Any:
    return connection.execute(
        "SELECT version, fingerprint FROM projection_shapes WHERE projection = ?", (projection,)
    ).get


def forget(connection: apsw.Connection, projections: Collection[str]) -> None:
    """Drop what is kept of these projections, if anything: their rows live elsewhere now."""
    with connection:
        for projection in projections:
            _drop(connection, projection)


def _shape_one(connection: apsw.Connection, projection: ProjectionTables, current: Collection[str]) -> None:
    for table in projection.tables:
        _make_room(connection, projection.name, table.name, current)
        for statement in schema(table):
            connection.execute(statement)
    names = json.dumps([table.name for table in projection.tables])
    shape_row = (projection.name, projection.version, fingerprint(projection.tables), names)
    connection.execute("INSERT INTO projection_shapes VALUES (?, ?, ?, ?)", shape_row)
    connection.execute("INSERT INTO projection_checkpoints VALUES (?, 0, '', 0, 0, x'', 0)", (projection.name,))


def _is_whole(connection: apsw.Connection, projection: ProjectionTables) -> bool:
    return has_shape(connection, projection) and all(_exists(connection, table.name) for table in projection.tables)


def _drop(connection: apsw.Connection, projection: str) -> None:
    tables = connection.execute("SELECT tables FROM projection_shapes WHERE projection = ?", (projection,)).get
    for name in json.loads(tables or "[]"):
        connection.execute(f"DROP TABLE IF EXISTS {quoted(name)}")
    for ours in ("projection_shapes", "projection_checkpoints", "parked_events"):
        connection.execute(f"DELETE FROM {ours} WHERE projection = ?", (projection,))  # noqa: S608 - of the line above


def _make_room(connection: apsw.Connection, projection: str, table: str, current: Collection[str]) -> None:
    """Take a table's name over from a projection that is no more; refuse a name that is somebody else's."""
    if not _exists(connection, table):
        return
    owner = connection.execute(
        "SELECT projection FROM projection_shapes, json_each(tables) WHERE json_each.value = ?", (table,)
    ).get
    if owner is None or owner in current:
        whose = f"projection {owner}" if owner else "Diptych itself"
        raise ConfigurationError(
            f"{projection}: the table {table} belongs to {whose}. Give the read model another name."
        )
    _drop(connection, owner)


def _exists(connection: apsw.Connection, table: str) -> bool:
    return connection.execute("SELECT 1 FROM main.sqlite_schema WHERE name = ?", (table,)).get is not None
