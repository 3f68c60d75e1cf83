"""The builds of projections in a file of rows: begun, indexed, swapped, dropped by the writer, compared by a reader.

Rule: each change is one transaction, and what it rests on is looked at inside it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import apsw

from diptych.errors import SwapRefusedError
from diptych.store.batches import ProjectionTables
from diptych.store.generations import Comparison, Generation, GenerationState, placed_name
from diptych.store.sqlite.comparing import compare
from diptych.store.sqlite.connection import DatabaseFile, open_reader, translate
from diptych.store.sqlite.fence import fence
from diptych.store.sqlite.shapes import drop, is_whole, make, set_live
from diptych.store.sqlite.writer import Task

T = TypeVar("T")

_COLUMNS: Final = "g.generation, g.projection, p.live, g.is_kept, g.version, g.shape, g.lanes, g.code, g.tables, "
_ALL: Final = (
    f"SELECT {_COLUMNS} g.missing_indexes = '[]', g.since FROM projection_generations g "  # noqa: S608 - a constant
    "LEFT JOIN projections p ON p.projection = g.projection ORDER BY g.generation"
)
_BEHIND: Final = """
    SELECT n.lane, n.position, o.position FROM projection_checkpoints n
    JOIN projections p ON p.projection = n.projection
    JOIN projection_checkpoints o ON o.projection = p.projection AND o.generation = p.live
    WHERE n.projection = ? AND n.generation = ? AND n.position < o.position
        AND (o.lane = n.lane OR (SELECT count(DISTINCT lanes) FROM projection_generations
                                 WHERE generation IN (n.generation, o.generation)) > 1)
    ORDER BY n.position LIMIT 1"""


_SIZE: Final = """
    SELECT coalesce(sum(pgsize), 0) FROM dbstat('main', 1) WHERE name IN (
        SELECT name FROM sqlite_schema WHERE tbl_name IN (SELECT value FROM json_each(?)))"""
_TRIGGERS: Final = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?"


def read_generations(connection: apsw.Connection) -> list[Generation]:
    """Return all generations of a file, by number."""
    return [_generation(*row) for row in connection.execute(_ALL)]


def _generation(number: int, projection: str, live: int | None, is_kept: int, *rest: Any) -> Generation:
    version, shape, lanes, code, tables, is_indexed, since = rest
    state: GenerationState = "live" if live == number else "kept" if is_kept else "building"
    names = tuple(json.loads(tables))
    return Generation(projection, number, state, version, shape, lanes, code, names, bool(is_indexed), since)


class SqliteGenerations:
    """The builds of one view store. `submit` gives a task to its writer."""

    def __init__(
        self, file: DatabaseFile, submit: Callable[[Task[Any]], Awaitable[Any]], *, is_beside_log: bool = False
    ) -> None:
        """`is_beside_log`: appends wait for the same writer, so that it must not make an index of many rows at once."""
        self._file, self._submit, self._is_beside_log = file, submit, is_beside_log

    async def all(self, projection: str | None = None) -> Sequence[Generation]:
        """Return the generations of a projection, or of all, by number."""
        found: list[Generation] = await self._submit(Task(read_generations))
        return [one for one in found if projection in (None, one.projection)]

    async def begin(self, projection: ProjectionTables) -> Generation:
        """Make the tables of a new generation; one that is being built for the same is returned as it is."""

        def work(connection: apsw.Connection) -> Generation:
            building = [one for one in _of(connection, projection.name) if one.state == "building"]
            for one in building:
                if one.fits(projection) and one.code == projection.code and is_whole(connection, one.number):
                    return one
                drop(connection, one.number)
            number = make(connection, projection, with_indexes=self._is_beside_log)
            return next(one for one in _of(connection, projection.name) if one.number == number)

        begun: Generation = await self._submit(Task(work))
        return begun

    async def index(self, projection: str, number: int) -> None:
        """Make the indexes that `begin` left out; done again it does nothing."""

        def work(connection: apsw.Connection) -> None:
            found = "SELECT missing_indexes FROM projection_generations WHERE projection = ? AND generation = ?"
            for statement in json.loads(connection.execute(found, (projection, number)).get or "[]"):
                connection.execute(statement)
            connection.execute(
                "UPDATE projection_generations SET missing_indexes = '[]' WHERE generation = ?", (number,)
            )

        await self._submit(Task(work))

    async def swap(self, projection: str, number: int) -> None:
        """From now on this generation is read. :raises SwapRefusedError: it is behind the live one, or not there."""

        def work(connection: apsw.Connection) -> None:
            one = _one(connection, projection, number)
            if one.state == "live":
                return
            if one.state == "building":
                behind = connection.execute(_BEHIND, (projection, number)).fetchall()
                if behind:
                    lane, at, other = behind[0]
                    why = f"lane {lane} is at position {at}, behind the live one's {other}; catch it up first"
                    raise SwapRefusedError(projection, number, why)
            old = connection.execute("SELECT live FROM projections WHERE projection = ?", (projection,)).get
            set_live(connection, projection, number)
            connection.execute(
                "UPDATE projection_generations SET since = (SELECT since FROM projection_generations "
                "WHERE generation = ?) WHERE generation = ?",
                (number, old),
            )

        await self._submit(Task(work))

    async def drop(self, projection: str, number: int) -> None:
        """Drop its tables and all that is said of it. :raises SwapRefusedError: it is live."""

        def work(connection: apsw.Connection) -> None:
            if _one(connection, projection, number).state == "live":
                raise SwapRefusedError(projection, number, "it is the one that is read; swap to another one first")
            drop(connection, number)

        await self._submit(Task(work))

    async def accept(self, projection: str, number: int, code: str) -> None:
        """Note that it is as good as if this code had built it."""

        def work(connection: apsw.Connection) -> None:
            _one(connection, projection, number)
            connection.execute("UPDATE projection_generations SET code = ? WHERE generation = ?", (code, number))

        await self._submit(Task(work))

    async def compare(
        self, projection: str, old: int, new: int, *, samples: int = 5, opened: Callable[[], None] | None = None
    ) -> Comparison:
        """Compare the rows of two generations in one snapshot, in a thread. `opened` is called once it stands."""

        def work(connection: apsw.Connection) -> Comparison:
            pair = _one(connection, projection, old), _one(connection, projection, new)
            if opened is not None:
                opened()
            return compare(connection, *pair, samples)

        return await asyncio.to_thread(self._look, work)

    async def size(self, projection: str, number: int) -> int:
        """Bytes that its tables and their indexes take on disk."""

        def work(connection: apsw.Connection) -> int:
            tables = json.dumps([placed_name(name, number) for name in _one(connection, projection, number).tables])
            return int(connection.execute(_SIZE, (tables,)).get)

        return await asyncio.to_thread(self._look, work)

    async def unfenced(self, projection: str) -> Sequence[str]:
        """Return the names of its tables whose triggers are missing or are not as this code writes them."""

        def work(connection: apsw.Connection) -> list[str]:
            places = [placed_name(name, one.number) for one in _of(connection, projection) for name in one.tables]
            return [place for place in places if not _has_fence(connection, place)]

        return await asyncio.to_thread(self._look, work)

    def _look(self, work: Callable[[apsw.Connection], T]) -> T:
        connection = open_reader(self._file)
        try:
            connection.execute("BEGIN")
            return work(connection)
        except apsw.Error as error:
            raise translate(error, self._file.path) from error
        finally:
            connection.close(True)


def _has_fence(connection: apsw.Connection, table: str) -> bool:
    return set(fence(table)) <= {sql for (sql,) in connection.execute(_TRIGGERS, (table,))}


def _of(connection: apsw.Connection, projection: str) -> list[Generation]:
    return [one for one in read_generations(connection) if one.projection == projection]


def _one(connection: apsw.Connection, projection: str, number: int) -> Generation:
    for one in _of(connection, projection):
        if one.number == number:
            return one
    raise SwapRefusedError(projection, number, "there is no such generation")
