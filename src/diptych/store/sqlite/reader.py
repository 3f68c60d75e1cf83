"""Reading for query handlers: one snapshot, on a connection that can do nothing else (R4).

Rule: a session that reads nothing costs nothing; one that ends, however it ends, gives its connection back.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf
from typing import Any, Final, NamedTuple, Self, TypeVar

import apsw

from diptych.errors import AccessDeniedError, ProgrammingError, ValueDoesNotFitError
from diptych.store.batches import Checkpoint, Freshness
from diptych.store.placing import Placing
from diptych.store.protocols import Selected
from diptych.store.refusals import not_readable
from diptych.store.sqlite.connection import DatabaseFile, open_reader, translate
from diptych.store.sqlite.connections import ConnectionPool, PooledConnection
from diptych.store.sqlite.guard import ReadGuard
from diptych.store.sqlite.rows import codec_of
from diptych.store.sqlite.statements import Statements
from diptych.store.tables import Table
from diptych.store.values import asked_for

T = TypeVar("T")

CONNECTIONS: Final = 8


class Shelf(NamedTuple):
    """One file of rows, under the name it has on a reading connection, and the tables of each projection in it."""

    place: str
    file: DatabaseFile
    tables: Mapping[str, Sequence[Table]]


class Readers:
    """What all sessions of a view store share: the connections, the tables they may read, the reading threads."""

    def __init__(self, shelves: Sequence[Shelf], *, query_seconds: float = 10.0) -> None:
        """`shelves`: the file of rows, and the event store's when it has rows too."""
        self.files, self.query_seconds = [shelf.file for shelf in shelves], query_seconds
        owned = [(shelf.place, name, table) for shelf in shelves for name, all in shelf.tables.items() for table in all]
        self._places = {table.name: place for place, _, table in owned}
        self._owners = {table.name: name for _, name, table in owned}
        self._tables = {table.name: table for _, _, table in owned}
        self.threads = ThreadPoolExecutor(2, "diptych-read")
        self.pool = ConnectionPool(tuple(file.path for file in self.files), self._open, size=CONNECTIONS)
        self.statements = Statements(self.files[0].path, self._tables)
        self.freshness = {name: _freshness_sql(shelf.place) for shelf in shelves for name in shelf.tables}
        self._swaps = "SELECT " + ", ".join(f"(SELECT swaps FROM {shelf.place}.view_store)" for shelf in shelves)  # noqa: S608
        self._live = " UNION ALL ".join(f"SELECT projection, live FROM {shelf.place}.projections" for shelf in shelves)  # noqa: S608
        self._placing: tuple[Any, Placing] = (None, Placing({}, {}, {}))

    def placing(self, connection: apsw.Connection) -> Placing:
        """Return where plain names are in the snapshot of a connection."""
        swaps, placing = self._placing
        now = connection.execute(self._swaps).fetchall()[0]
        if now != swaps:
            rows: list[Any] = connection.execute(self._live).fetchall()
            live = dict(rows)
            placing = Placing(live, {n: t for n, t in self._tables.items() if self._owners[n] in live}, self._owners)
            self._placing = now, placing
        return placing

    def _open(self) -> PooledConnection:
        connection = open_reader(self.files[0])
        try:
            for file in self.files[1:]:
                connection.execute("ATTACH ? AS inline", (file.path,))
            guard = ReadGuard(connection, self._places)
            connection.authorizer = guard
            return PooledConnection(connection, guard)
        except BaseException as error:
            connection.close(True)
            if isinstance(error, apsw.Error):
                raise translate(error, self.files[0].path) from error
            raise

    def session(self) -> "SqliteReadSession":
        """Return a session; it opens nothing before its first read."""
        return SqliteReadSession(self)

    async def close(self) -> None:
        """Let go of connections and threads; a read that runs is waited for."""
        self.pool.close()
        await asyncio.get_running_loop().run_in_executor(None, self.threads.shutdown)


def _freshness_sql(place: str) -> str:
    return (
        "SELECT position, epoch, event_id, recorded_at, "  # noqa: S608 - a schema's name out of two
        f"(SELECT count(*) FROM {place}.parked_events WHERE projection = ?1 AND generation = ?2) "
        f"FROM {place}.projection_checkpoints WHERE projection = ?1 AND generation = ?2 ORDER BY position LIMIT 1"
    )


class SqliteReadSession:
    """One snapshot, from the first read in it to its end. Its reads happen one after the other."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._held: PooledConnection | None = None
        self._placing = Placing({}, {}, {})  # of the snapshot, once it is begun
        self._running: Future[Any] | None = None
        self._turn = asyncio.Lock()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *reason: object) -> None:
        self._is_closed = True
        held, self._held = self._held, None
        if held is None:
            return
        running = self._running
        if running is not None and not running.done():
            held.deadline = 0.0
            running.add_done_callback(lambda _: self._give_back(held))
        else:
            self._give_back(held)

    def _give_back(self, held: PooledConnection) -> None:
        held.deadline = inf
        try:
            held.connection.execute("COMMIT")
        except apsw.Error:
            self._readers.pool.release(held, is_broken=True)
        else:
            self._readers.pool.release(held)

    async def get(self, table: Table, key: tuple[Any, ...]) -> Any | None:
        """Return the row with this key, built, or None."""
        held = await self._begun()
        try:
            codec = codec_of(self._placing.table(table))
            values = codec.encode_key(key)
        except ValueDoesNotFitError as error:
            raise asked_for(error) from error
        except KeyError:
            raise AccessDeniedError(not_readable(table.name, self._readers.statements.tables)) from None
        rows = self._fetch_now(held, codec.get, values)
        return codec.decode(rows[0]) if rows else None

    async def freshness(self, projection: str) -> Freshness:
        """Where this projection stands in this snapshot."""
        sql = self._readers.freshness.get(projection)
        if sql is None:
            raise ProgrammingError(f"The store was not opened with the projection {projection}.")
        held = await self._begun()
        generation = self._placing.generations.get(projection, 0)
        for row in self._fetch_now(held, sql, (projection, generation)):
            position, epoch, event_id, recorded_at, parked = row
            return Freshness(Checkpoint(position, epoch, event_id, recorded_at), parked, generation)
        return Freshness(Checkpoint())

    async def fetch(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one SELECT in a reading thread; raw database values come back."""
        _, rows = await self._on_a_thread(self._readers.statements.run, sql, parameters)
        return rows

    async def select(self, sql: str, parameters: Mapping[str, Any]) -> Selected:
        """Run one SELECT in a reading thread, its values made Python's by the columns they came from."""
        return await self._on_a_thread(self._readers.statements.select, sql, parameters)

    def decode(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Build rows of raw values that stand in the order of the table's columns."""
        return codec_of(table).decode_all(rows)

    async def _begun(self) -> PooledConnection:
        """Return the session's connection, for a read on this thread."""
        held = self._held
        if held is None or self._turn.locked():
            async with self._turn:
                return await self._begin()
        return held

    def _fetch_now(self, held: PooledConnection, sql: str, values: tuple[Any, ...]) -> list[Any]:
        try:
            return held.connection.execute(sql, values).fetchall()
        except apsw.Error as error:
            raise self._readers.statements.refusal(held, error) from error

    async def _begin(self) -> PooledConnection:
        """Return the session's connection, taken and its snapshot begun at the first call."""
        if self._is_closed:
            raise ProgrammingError("This read session has ended. Read inside the query handler, and await it there.")
        if self._held is None:
            held = await self._readers.pool.acquire()
            if self._is_closed:
                self._readers.pool.release(held)
                raise ProgrammingError("This read session ended while it waited for a connection.")
            self._held = held
            try:
                held.connection.execute("BEGIN")
                self._placing = self._readers.placing(held.connection)
            except apsw.Error as error:
                raise translate(error, self._readers.files[0].path) from error
        return self._held

    async def _on_a_thread(
        self, work: Callable[[PooledConnection, str, Mapping[str, Any]], T], sql: str, parameters: Mapping[str, Any]
    ) -> T:
        async with self._turn:
            held = await self._begin()
            held.deadline = time.monotonic() + self._readers.query_seconds
            text = self._placing.read(sql)
            running = self._running = self._readers.threads.submit(work, held, text, parameters)
            try:
                return await asyncio.wrap_future(running)
            finally:
                held.deadline = inf if running.done() else 0.0  # who waited was cancelled: stop it soon
