"""The rows of projections as they lie in the files of a service, each projection under one snapshot.

Rule: a projection whose tables have another shape than the code says is not read: it is built again where it goes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import apsw

from diptych.errors import OtherHistoryError
from diptych.store.batches import ProjectionTables
from diptych.store.generations import Generation, placed
from diptych.store.rows import quoted
from diptych.store.sqlite.connection import DatabaseFile, open_reader, translate
from diptych.store.sqlite.generations import read_generations
from diptych.store.sqlite.rows import codec_of
from diptych.store.sqlite.shapes import VIEWS_APPLICATION_ID, VIEWS_SCHEMA
from diptych.store.tables import Table

_OF_LIVE = "WHERE projection = ? AND generation = ?"
_LANES = f"SELECT lane, tenant, epoch, position, event_id, recorded_at FROM projection_checkpoints {_OF_LIVE}"  # noqa: S608
_PARKED = f"SELECT position, key, tenant, error, lane FROM parked_events {_OF_LIVE} ORDER BY position, key"  # noqa: S608
_PAGE = 500


class ProjectionSnapshot:
    """The live generation of a projection at one moment: `lanes` and `parked` are rows as the store keeps them."""

    def __init__(self, connection: apsw.Connection, live: Generation, path: str) -> None:
        self._connection, self._path, self._number = connection, path, live.number
        of_live = (live.projection, live.number)
        self.lanes: Sequence[tuple[Any, ...]] = connection.execute(_LANES, of_live).fetchall()
        self.parked: Sequence[tuple[Any, ...]] = connection.execute(_PARKED, of_live).fetchall()

    def count(self, table: Table) -> int:
        """How many rows a table has."""
        place = quoted(placed(table, self._number).name)
        return int(self._connection.execute(f"SELECT count(*) FROM {place}").get)  # noqa: S608 - quoted

    def rows(self, table: Table) -> "Pages":
        """Read a table page by page."""
        return Pages(self._connection, placed(table, self._number), self._path)


class Pages:
    """Call `next_page` until it gives none; each row is built, so that it can be kept in another form."""

    def __init__(self, connection: apsw.Connection, table: Table, path: str) -> None:
        self._codec, self._path = codec_of(table), path
        self._cursor = connection.cursor()
        self._cursor.execute(self._codec.select)

    def next_page(self) -> list[Any]:
        """The next rows. :raises ValueDoesNotFitError: the code does not know a value any more."""
        try:
            found = [row for _, row in zip(range(_PAGE), self._cursor, strict=False)]
        except apsw.Error as error:
            raise translate(error, self._path) from error
        return self._codec.decode_all(found)


def plain(table: Table, row: Any) -> list[Any]:
    """A row's values in the form that is the same wherever it is kept: what two stores are compared by."""
    return codec_of(table).encode(row)


@contextmanager
def snapshot(
    events: str, views: str, store_id: UUID, projection: ProjectionTables
) -> Iterator[ProjectionSnapshot | None]:
    """Find a projection in the file of rows or beside the log; None when it is in neither as the code knows it.

    :raises OtherHistoryError: the rows were made from another store's events.
    """
    for path in filter(lambda path: Path(path).exists(), (views, events)):
        connection = open_reader(DatabaseFile(path, VIEWS_APPLICATION_ID, VIEWS_SCHEMA))
        try:
            connection.execute("BEGIN")
            if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'projection_generations'").get:
                if connection.execute("SELECT store_id FROM view_store").get != str(store_id):
                    raise OtherHistoryError(f"{path} (delete it and it is built again)", 0)
                for one in read_generations(connection):
                    if one.state == "live" and one.projection == projection.name and one.fits(projection):
                        yield ProjectionSnapshot(connection, one, path)
                        return
        except apsw.Error as error:
            raise translate(error, path) from error
        finally:
            connection.close(True)
    yield None
