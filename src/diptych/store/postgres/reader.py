"""Reading for query handlers: one snapshot, in a transaction that can do nothing else (R4).

Rule: a session that reads nothing costs nothing; one that ends, however it ends, gives its connection back.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

import asyncpg

from diptych.errors import DiptychError, ProgrammingError, ValueDoesNotFitError
from diptych.store.owners import known_to
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.guard import Judge, first_line
from diptych.store.postgres.rows import PostgresRowCodec, codec_of
from diptych.store.postgres.statements import Statements
from diptych.store.protocols import Checkpoint, Freshness, Selected, SnapshotIsGone
from diptych.store.rows import quoted
from diptych.store.tables import Table
from diptych.store.values import asked_for

CONNECTIONS: Final = 8
_PLACE: Final = 5  # columns that say where a projection stands


class Readers:
    """What all sessions of a view store share: the connections, and the tables they may read, by projection."""

    def __init__(self, pool: Connections, judge: Judge, tables: Mapping[str, Sequence[Table]]) -> None:
        self.pool, self.projections = pool, dict.fromkeys(tables, True)
        self.schema = pool.database.schema
        place = quoted(self.schema)
        self.begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {place}"
        self.projection_of = {table.name: name for name, owned in tables.items() for table in owned}
        by_name = {table.name: table for owned in tables.values() for table in owned}
        self.statements = Statements(pool.database, judge, by_name)
        self._freshness = (
            "SELECT position, epoch, event_id, recorded_at, "  # noqa: S608 - a quoted name
            f"(SELECT count(*) FROM {place}.parked_events WHERE projection = {{name}}) "
            f"FROM {place}.projection_checkpoints WHERE projection = {{name}} ORDER BY position LIMIT 1"
        )
        self.freshness = self._freshness.format(name="$1")
        self._with_freshness: dict[str, str] = {}

    def with_freshness(self, codec: PostgresRowCodec) -> str:
        """Return the statement for one row of a table, where its projection stands before it; both may lack."""
        name = codec.table.name
        known = self._with_freshness.get(name)
        if known is None:
            place = self._freshness.format(name=f"${len(codec.table.key) + 1}")
            known = (
                f"SELECT * FROM (SELECT) AS one LEFT JOIN ({place}) AS f ON true LEFT JOIN ({codec.get}) AS r ON true"  # noqa: S608
            )
            self._with_freshness[name] = known
        return known

    def session(self, *, is_for_one: bool = False) -> "PostgresReadSession":
        """Return a session; it opens nothing before its first read."""
        return PostgresReadSession(self, is_for_one=is_for_one)


class _First(NamedTuple):
    """What a session read outside a transaction: how it is read again, the row, and where its projection stood."""

    sql: str
    values: Sequence[Any]
    row: tuple[Any, ...]
    place: tuple[Any, ...]


class PostgresReadSession:
    """One snapshot, from the first read in it to its end. Its reads happen one after the other.

    A session for one holds no transaction after a first `get`. Another read begins one, and reads the first row again:
    if it is the same, all that was seen is of the new snapshot, too.
    """

    def __init__(self, readers: Readers, *, is_for_one: bool = False) -> None:
        self._readers, self._is_for_one = readers, is_for_one
        self._first: _First | None = None
        self._is_told = False  # where the projection of the first stood
        self._held: Connection | None = None
        self._turn = asyncio.Lock()
        self._is_closed = False
        self._failure: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *reason: object) -> None:
        self._is_closed = True
        held, self._held = self._held, None
        if held is None:
            return
        # The pool ends the transaction by itself: nobody has to wait for that.
        self._readers.pool.release(held, is_sound=self._failure is None and not self._turn.locked())

    async def get(self, table: Table, key: tuple[Any, ...]) -> Any | None:
        """Return the row with this key, built, or None."""
        self._readers.statements.check_registered(table.name)
        codec = codec_of(table, self._readers.schema)
        try:
            values = codec.encode_key(key)
        except ValueDoesNotFitError as error:
            raise asked_for(error) from error
        if self._is_for_one:
            async with self._turn:
                if self._is_for_one:
                    return await self._get_one(codec, values)
        rows = await self._run(codec.get, values)
        return codec.decode(rows[0]) if rows else None

    async def _get_one(self, codec: PostgresRowCodec, values: Sequence[Any]) -> Any | None:
        """Read a row and its freshness in one statement, which is a snapshot by itself."""
        self._check_open()
        pool, projection = self._readers.pool, self._readers.projection_of[codec.table.name]
        sql = self._readers.with_freshness(codec)
        held, is_sound = await pool.acquire(), False
        try:
            found = await held.fetchrow(sql, *values, projection)
            is_sound = True
        except DRIVER_ERRORS as error:
            is_sound = isinstance(error, asyncpg.PostgresError)
            raise self._failed(held, error) from error
        finally:
            pool.release(held, is_sound=is_sound)
        assert found is not None
        self._first = first = _First(sql, (*values, projection), tuple(found[_PLACE:]), tuple(found[:_PLACE]))
        self._is_for_one = False
        return None if first.row[codec.names.index(codec.table.key[0])] is None else codec.decode(first.row)

    async def freshness(self, projection: str) -> Freshness:
        """Where this projection stands in this snapshot."""
        known_to(self._readers.projections, projection)
        if self._first is not None and self._first.values[-1] == projection:
            self._is_told = True
            place = self._first.place
            return _freshness(place if place[0] is not None else None)
        found = await self._run(self._readers.freshness, (projection,))
        return _freshness(found[0] if found else None)

    async def fetch(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one SELECT; what asyncpg made of its values comes back."""
        statements = self._readers.statements
        verdict = await statements.allowed(sql)
        return list(map(tuple, await self._run(verdict.text.sql, statements.bind(verdict, parameters))))

    async def select(self, sql: str, parameters: Mapping[str, Any]) -> Selected:
        """Run one SELECT, its values made Python's by the columns they are named as."""
        statements = self._readers.statements
        verdict = await statements.allowed(sql)
        return statements.selected(verdict, await self._run(verdict.text.sql, statements.bind(verdict, parameters)))

    def decode(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Build rows of raw values that stand in the order of the table's columns."""
        return codec_of(table, self._readers.schema).decode_all(rows)

    async def _run(self, sql: str, values: Sequence[Any]) -> list[Any]:
        async with self._turn:
            held = await self._begin()
            try:
                return await held.fetch(sql, *values)
            except DRIVER_ERRORS as error:
                raise self._failed(held, error) from error

    def _failed(self, held: Connection, error: BaseException) -> DiptychError:
        if getattr(error, "severity", None) is not None:  # the server's: it has given the transaction up
            self._failure = first_line(error)
        if isinstance(error, TimeoutError):
            held.terminate()
        return self._readers.statements.refusal(error)

    async def _begin(self) -> Connection:
        """Return the session's connection, taken and its snapshot begun at the first call."""
        self._check_open()
        if self._failure is not None:
            raise ProgrammingError(f"An earlier read failed, and its snapshot is gone with it ({self._failure}).")
        if self._held is None:
            held = await self._readers.pool.acquire()
            if self._is_closed:
                self._readers.pool.release(held)
                raise ProgrammingError("This read session ended while it waited for a connection.")
            self._held = held
            try:
                await held.execute(self._readers.begin)
                await self._confirm_first(held)
            except DRIVER_ERRORS as error:
                raise self._failed(held, error) from error
        return self._held

    async def _confirm_first(self, held: Connection) -> None:
        """:raises SnapshotIsGone: what was read before the transaction is not what it shows."""
        first, self._is_for_one = self._first, False
        if first is not None:
            (found,) = await held.fetch(first.sql, *first.values)
            self._first = again = first._replace(row=tuple(found[_PLACE:]), place=tuple(found[:_PLACE]))
            if again.row != first.row or (self._is_told and again.place != first.place):
                raise SnapshotIsGone

    def _check_open(self) -> None:
        if self._is_closed:
            raise ProgrammingError("This read session has ended. Read inside the query handler, and await it there.")


def _freshness(row: Sequence[Any] | None) -> Freshness:
    return Freshness(Checkpoint()) if row is None else Freshness(Checkpoint(*row[:4]), row[4])
