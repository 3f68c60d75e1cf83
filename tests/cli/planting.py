"""Stores with violations planted in them, by going round the triggers as somebody with the file or the password could.

In the statements `{s}` stands before each table, and `{b}` for some bytes. The store has purse A at positions 1 to 4
and purse B at 5 to 7, each event paid by a command of its own, and a lane of a duty at position 7.
"""

from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import apsw

from diptych.store.postgres.auditing import GUARDS
from diptych.store.sqlite.auditing import TRIGGER
from diptych.store.sqlite.fence import let_in
from diptych.store.sqlite.migrations import migrations
from tests.postgres import Server


class Plant(NamedTuple):
    """What is done to the store, and what must be found: the invariant, the position, a piece of the sentence."""

    sql: str
    invariant: str
    position: int | None
    says: str


class Place(Protocol):
    """A store that is damaged."""

    url: str

    def plant(self, sql: str, *, leave_open: bool = False) -> None:
        """Run statements without the triggers; put those back unless told not to."""
        ...

    def plant_rows(self, sql: str) -> None:
        """Run statements where the rows are."""
        ...


class File:
    """A store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.url, self._path = f"sqlite:///{folder}/shop.db", folder / "shop.db"

    def plant(self, sql: str, *, leave_open: bool = False) -> None:
        """Drop the triggers, run statements, and make them again."""
        connection = apsw.Connection(str(self._path))
        triggers = [(found[1], found[0]) for _, sql in migrations("events") for found in TRIGGER.finditer(sql)]
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(sql.replace("{s}", ""))
        for _, made in triggers if not leave_open else ():
            connection.execute(made)
        connection.close()

    def plant_rows(self, sql: str) -> None:
        """Run statements in the file of rows."""
        connection = apsw.Connection(str(self._path.with_name("shop.views.db")))
        let_in(connection)
        connection.execute(sql.replace("{s}", "").replace("{b}", "x'00'"))
        connection.close()


class Schema:
    """A store in a schema."""

    def __init__(self, server: Server, url: str) -> None:
        self.url, self._server = url, server
        self._schema = dict(part.split("=") for part in urlsplit(url).query.split("&"))["schema"]

    def plant(self, sql: str, *, leave_open: bool = False) -> None:
        """Switch the triggers off, run statements, and switch them on again."""
        change = f"ALTER TABLE {self._schema}.{{}} {{}} TRIGGER {{}};"
        off = "".join(change.format(table, "DISABLE", name) for table, name in GUARDS)
        on = off.replace("DISABLE", "ENABLE ALWAYS")
        self.plant_rows(f"{off}{sql};{'' if leave_open else on}")

    def plant_rows(self, sql: str) -> None:
        """Run statements as the superuser."""
        self._server.query(
            "SET diptych_rows.writer = projection;" + sql.replace("{s}", f"{self._schema}.").replace("{b}", "'\\x00'")
        )


PLANTS = {
    "an event is deleted": Plant("DELETE FROM {s}events WHERE position = 3", "L2", 3, "Position 3 is missing"),
    "the stream of a deleted event": Plant("DELETE FROM {s}events WHERE position = 3", "L3", 4, "after version 2"),
    "the last events are lost": Plant("DELETE FROM {s}events WHERE position > 5", "L1", 7, "events are lost"),
    "the command of a deleted event": Plant("DELETE FROM {s}events WHERE position = 5", "L7", 5, "that is not there"),
    "an event is before the first": Plant(
        "UPDATE {s}events SET position = 0 WHERE position = 1", "L2", 0, "begins with 1"
    ),
    "a version is skipped": Plant("UPDATE {s}events SET version = 9 WHERE position = 4", "L3", 4, "after version 3"),
    "a version is there twice": Plant(
        "UPDATE {s}events SET version = 1 WHERE position = 2", "L3", 2, "has another event"
    ),
    "two versions are exchanged": Plant(
        "UPDATE {s}events SET version = 5 - version WHERE position IN (1, 4)", "L4", 1, "Position 1 has version 4"
    ),
    "a payload is edited": Plant(
        """UPDATE {s}events SET payload = '{"amount": "999"}' WHERE position = 2""", "L8", 2, "checksum"
    ),
    "metadata are edited": Plant(
        """UPDATE {s}events SET metadata = '{"user": "eve"}' WHERE position = 2""", "L8", 2, "checksum"
    ),
    "a time is edited": Plant(
        "UPDATE {s}events SET recorded_at = recorded_at + 1 WHERE position = 2", "L8", 2, "checksum"
    ),
    "a time goes backwards": Plant(
        "UPDATE {s}events SET recorded_at = 1 WHERE position = 5", "L4", 5, "before the one before"
    ),
    "a slice is wrong": Plant("UPDATE {s}events SET slice = 1023 - slice WHERE position = 2", "L8", 2, "is in slice"),
    "a tenant is wrong": Plant("UPDATE {s}events SET tenant = 'acme' WHERE position = 2", "L3", 2, "another tenant"),
    "an event changes its stream": Plant(
        "UPDATE {s}events SET stream = (SELECT max(stream) FROM {s}events), version = 3 WHERE position = 4",
        "L8",
        4,
        "checksum",
    ),
    "a type is no type": Plant(
        "UPDATE {s}events SET type = 77 WHERE position = 2", "I2", 2, "not in the table of types"
    ),
    "a type is renamed": Plant(
        "UPDATE {s}event_types SET name = 'Stolen' WHERE name = 'Paid'", "I2", 1, "no such event"
    ),
    "a schema version is of the future": Plant(
        "UPDATE {s}events SET schema_version = 8 WHERE position = 2", "I2", 2, "up to v1"
    ),
    "a stream is lost": Plant(
        "DELETE FROM {s}streams WHERE id = (SELECT stream FROM {s}events WHERE position = 5)",
        "L3",
        5,
        "not in the table",
    ),
    "a stream says too much": Plant(
        "UPDATE {s}streams SET version = 9 WHERE version = 4", "L3", 1, "events end with 4"
    ),
    "a command points past the end": Plant(
        "UPDATE {s}commands SET position = 99 WHERE position = 4", "L1", 99, "are lost"
    ),
    "a lane names another event": Plant(
        "UPDATE {s}projection_checkpoints SET position = 3", "P2", 3, "names another event"
    ),
    "a lane is past the end": Plant("UPDATE {s}projection_checkpoints SET position = 30", "P2", 30, "ends at 7"),
}

ROW_PLANTS = {
    "a row is edited": Plant(
        "UPDATE {s}purse_row__g1 SET total = 0 WHERE total = (SELECT min(total) FROM {s}purse_row__g1)",
        "P1",
        7,
        "total is 0",
    ),
    "a row is deleted": Plant(
        "DELETE FROM {s}purse_row__g1 WHERE total = (SELECT min(total) FROM {s}purse_row__g1)", "P1", 7, "is missing"
    ),
    "a row is added": Plant(
        "INSERT INTO {s}purse_row__g1 (id, total) VALUES ('00000000-0000-7000-8000-000000000000', 5)",
        "P1",
        7,
        "no such row",
    ),
    "a checkpoint is moved back": Plant(
        "UPDATE {s}projection_checkpoints SET position = 6", "P2", 6, "names another event"
    ),
    "a checkpoint names another event": Plant(
        "UPDATE {s}projection_checkpoints SET event_id = {b}", "P2", 7, "names another event"
    ),
    "a checkpoint is past the end": Plant("UPDATE {s}projection_checkpoints SET position = 70", "P2", 70, "history"),
}

FENCES_DOWN = {
    "sqlite": ["DROP TRIGGER purse_row__g1__insert", "DROP TRIGGER purse_row__g1__update"],
    "postgres": [
        "DROP TRIGGER rows_are_their_projections ON {s}purse_row__g1",
        "ALTER TABLE {s}purse_row__g1 DISABLE TRIGGER rows_are_their_projections",
        "CREATE OR REPLACE FUNCTION {s}refuse_rows() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ],
}
