"""A file of rows made ready: our own tables, and for each projection that was never seen a first generation.

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
from diptych.store.generations import placed, placed_name
from diptych.store.owners import refuse_shared
from diptych.store.rows import quoted
from diptych.store.sqlite.connection import DatabaseFile
from diptych.store.sqlite.fence import fence
from diptych.store.sqlite.rows import schema

VIEWS_SCHEMA: Final = 1
VIEWS_APPLICATION_ID: Final = 0x44505456  # "DPTV"
NOW: Final = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
_NEXT: Final = "UPDATE view_store SET last_generation = last_generation + 1 RETURNING last_generation"
_GENERATION: Final = f"INSERT INTO projection_generations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, {NOW})"  # noqa: S608
_LANE: Final = "INSERT INTO projection_checkpoints VALUES (?, ?, ?, '', 0, 0, x'', 0, '', 0, '')"
_ANSWER_ALL: Final = "UPDATE projection_requests SET outcome = ? WHERE generation = ? AND outcome = ''"
_SET_LIVE: Final = (
    "INSERT INTO projections (projection, live) VALUES (?, ?) ON CONFLICT DO UPDATE SET live = excluded.live"
)


def prepare(connection: apsw.Connection, file: DatabaseFile, store_id: UUID) -> None:
    """Create our own tables in a file that lacks them; refuse those of a newer Diptych or of another event store."""
    with connection:
        if not _exists(connection, "view_store"):
            connection.execute(_script(VIEWS_SCHEMA))
            if file.application_id == VIEWS_APPLICATION_ID:
                connection.pragma("application_id", VIEWS_APPLICATION_ID)
                connection.pragma("user_version", VIEWS_SCHEMA)
        if connection.execute("SELECT 1 FROM view_store").get is None:
            connection.execute("INSERT INTO view_store VALUES (1, ?, ?, 0, 0)", (VIEWS_SCHEMA, str(store_id)))
        version, found = connection.execute("SELECT schema_version, store_id FROM view_store").get
        if version > VIEWS_SCHEMA:
            raise StoreNewerThanCodeError(f"{file.path} (rows)", version, VIEWS_SCHEMA)
        if found != str(store_id):
            position = connection.execute("SELECT coalesce(max(position), 0) FROM projection_checkpoints").get
            raise OtherHistoryError(f"{file.path} (delete it and it is built again)", position)


def _script(version: int) -> str:
    folder = files("diptych.store.sqlite") / "schema"
    return (folder / f"views_{version:04d}.sql").read_text("utf-8")


def make_first(connection: apsw.Connection, projections: Sequence[ProjectionTables]) -> None:
    """Give each projection that was never seen a generation, which is live; and see that the tables of all are there.

    A generation whose tables somebody dropped by hand is made anew.
    """
    refuse_shared(projections)
    with connection:
        for projection in projections:
            for table in projection.tables:
                _refuse_taken(connection, projection.name, table.name)
            live = connection.execute("SELECT live FROM projections WHERE projection = ?", (projection.name,)).get
            if live is not None and not is_whole(connection, live):
                drop(connection, live)
                live = None
            if live is None:
                set_live(connection, projection.name, make(connection, projection))


def make(connection: apsw.Connection, projection: ProjectionTables, *, with_indexes: bool = True) -> int:
    """Make the tables of a new generation, its lanes at the beginning. Returns its number; it is not read yet."""
    number: int = connection.execute(_NEXT).get
    missing: list[str] = []
    for table in projection.tables:
        create, *indexes = schema(placed(table, number))
        for statement in (create, *fence(placed_name(table.name, number))):
            connection.execute(statement)
        for statement in indexes if with_indexes else ():
            connection.execute(statement)
        missing += [] if with_indexes else indexes
    names, lanes = json.dumps([table.name for table in projection.tables]), projection.lanes
    told = (projection.version, projection.shape, lanes, projection.code, names, json.dumps(missing))
    connection.execute(_GENERATION, (number, projection.name, 0, *told))
    connection.executemany(_LANE, [(projection.name, number, lane) for lane in range(lanes)])
    return number


def set_live(connection: apsw.Connection, projection: str, number: int) -> None:
    """From now on this generation is read; a view keeps the plain names of its tables, for people."""
    connection.execute(_SET_LIVE, (projection, number))
    connection.execute(f"UPDATE view_store SET swaps = max(swaps + 1, {NOW})")  # noqa: S608 - a constant
    connection.execute(f"UPDATE projection_generations SET is_kept = 1, since = {NOW} WHERE generation = ?", (number,))  # noqa: S608 - a constant
    for name in _tables(connection, number):
        connection.execute(f"DROP VIEW IF EXISTS {quoted(name)}")
        place = quoted(placed_name(name, number))
        connection.execute(f"CREATE VIEW {quoted(name)} AS SELECT * FROM {place}")  # noqa: S608 - quoted


def drop(connection: apsw.Connection, number: int) -> None:
    """Drop the tables of a generation and all that is said of it."""
    for name in _tables(connection, number):
        place = placed_name(name, number)
        shown = connection.execute("SELECT sql FROM main.sqlite_schema WHERE type = 'view' AND name = ?", (name,)).get
        if shown is not None and shown.endswith(quoted(place)):
            connection.execute(f"DROP VIEW {quoted(name)}")
        connection.execute(f"DROP TABLE IF EXISTS {quoted(place)}")
    connection.execute("DELETE FROM projections WHERE live = ?", (number,))
    for ours in ("projection_generations", "projection_checkpoints", "parked_events"):
        connection.execute(f"DELETE FROM {ours} WHERE generation = ?", (number,))  # noqa: S608 - of the line above
    connection.execute(_ANSWER_ALL, (f"Generation {number} is gone.", number))


def forget(connection: apsw.Connection, projections: Collection[str]) -> None:
    """Drop what is kept of these projections, if anything: their rows live elsewhere now."""
    with connection:
        for projection in projections:
            numbers: list[Any] = connection.execute(
                "SELECT generation FROM projection_generations WHERE projection = ?", (projection,)
            ).fetchall()
            for (number,) in numbers:
                drop(connection, number)


def _tables(connection: apsw.Connection, number: int) -> list[str]:
    found = connection.execute("SELECT tables FROM projection_generations WHERE generation = ?", (number,)).get
    names: list[str] = json.loads(found or "[]")
    return names


def is_whole(connection: apsw.Connection, number: int) -> bool:
    """Whether all tables of a generation are there."""
    return all(_exists(connection, placed_name(name, number)) for name in _tables(connection, number))


def _refuse_taken(connection: apsw.Connection, projection: str, table: str) -> None:
    kind = connection.execute("SELECT type FROM main.sqlite_schema WHERE name = ?", (table,)).get
    if kind not in (None, "view"):
        raise ConfigurationError(
            f"{projection}: the table {table} belongs to Diptych itself. Give the read model another name."
        )


def _exists(connection: apsw.Connection, table: str) -> Any:
    return connection.execute("SELECT 1 FROM main.sqlite_schema WHERE name = ?", (table,)).get is not None
