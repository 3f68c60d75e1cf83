"""Reading for query handlers: one snapshot, in a transaction that can do nothing else (R4).

Rule: a session that reads nothing costs nothing; one that ends, however it ends, gives its connection back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Self, TypeAlias

import asyncpg

from diptych.errors import DiptychError, ProgrammingError, StoreUnavailableError, ValueDoesNotFitError
from diptych.store.batches import Checkpoint, Freshness
from diptych.store.owners import known_to
from diptych.store.placing import Placing
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.guard import GoneError, Judge, Verdict, first_line
from diptych.store.postgres.live import Live
from diptych.store.postgres.migrations import in_schema
from diptych.store.postgres.rows import PostgresRowCodec, codec_of
from diptych.store.postgres.statements import Statements
from diptych.store.protocols import Selected, SnapshotIsGone
from diptych.store.rows import quoted
from diptych.store.tables import Table
from diptych.store.values import asked_for

CONNECTIONS: Final = 8
_MOST_KNOWN: Final = 1000
_FRESHNESS: Final = """
SELECT position, epoch, event_id, recorded_at,
    (SELECT count(*) FROM diptych.parked_events WHERE projection = {name} AND generation = {generation}) AS parked,
    (SELECT swaps FROM diptych.view_store) AS swaps
FROM diptych.projection_checkpoints WHERE projection = {name} AND generation = {generation} ORDER BY position LIMIT 1
"""
_PLACE: Final = 6  # columns of it
_NOWHERE: Final = (None,) * _PLACE


class Readers:
    """What all sessions of a view store share: the connections, and the tables they may read, by projection."""

    def __init__(self, pool: Connections, judge: Judge, tables: Mapping[str, Sequence[Table]]) -> None:
        self.pool, self.projections = pool, dict.fromkeys(tables, True)
        self.schema = pool.database.schema
        self.begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {quoted(self.schema)}"
        self.projection_of = {table.name: name for name, owned in tables.items() for table in owned}
        by_name = {table.name: table for owned in tables.values() for table in owned}
        self.statements = Statements(pool.database, judge, by_name)
        self.live = Live(pool, tables)
        self.freshness = self._freshness(1)
        self._with_freshness: dict[str, str] = {}

    async def expect(self, swaps: int, live: Mapping[str, int]) -> None:
        """Learn what is live, and connect, so that the first to read does not wait for it."""
        self.live.hear(swaps, live)
        if self.projections:
            with suppress(DiptychError):  # whoever reads will hear of it
                self.pool.release(await self.pool.acquire())

    def _freshness(self, first: int) -> str:
        places = {name: f"${number}" for number, name in enumerate(("name", "generation"), first)}
        return in_schema(_FRESHNESS.format(**places), self.schema)

    def with_freshness(self, codec: PostgresRowCodec) -> str:
        """Return the statement for one row of a table, where its projection stands before it; both may lack."""
        name = codec.table.name
        known = self._with_freshness.get(name)
        if known is None:
            if len(self._with_freshness) >= _MOST_KNOWN:
                self._with_freshness.clear()
            place = self._freshness(len(codec.table.key) + 1)
            known = (
                f"SELECT * FROM (SELECT) AS one LEFT JOIN ({place}) AS f ON true LEFT JOIN ({codec.get}) AS r ON true"  # noqa: S608
            )
            self._with_freshness[name] = known
        return known

    def session(self, *, is_for_one: bool = False) -> "PostgresReadSession":
        """Return a session; it opens nothing before its first read."""
        return PostgresReadSession(self, is_for_one=is_for_one)

    async def fetch_alone(self, read: "_Read") -> list[Any]:
        """Run a statement that is a snapshot by itself."""
        held, is_sound = await self.pool.acquire(), False
        try:
            rows = await held.fetch(read.sql, *read.values)
            is_sound = True
        except DRIVER_ERRORS as error:
            is_sound = isinstance(error, asyncpg.PostgresError)
            if isinstance(error, TimeoutError):
                held.terminate()  # what it answers one day is no answer to the next question
            raise self.refused(error) from error
        finally:
            self.pool.release(held, is_sound=is_sound)
        return rows

    def refused(self, error: BaseException) -> Exception:
        """Return our error for PostgreSQL's."""
        is_gone = isinstance(error, asyncpg.UndefinedTableError)
        return GoneError(first_line(error)) if is_gone else self.statements.refusal(error)


class _Read(NamedTuple):
    """A statement with its values, as it is for the generations of a session."""

    sql: str
    values: Sequence[Any]
    verdict: Verdict | None = None


_Placed: TypeAlias = Callable[[Placing], _Read | Awaitable[_Read]]
"""Makes a statement for the generations of a session; what has to be judged first is awaited."""


class _First(NamedTuple):
    """What a session read outside a transaction: how it is read again, and what came."""

    read: _Read
    projection: str
    found: tuple[Any, ...]

    def row(self) -> tuple[Any, ...]:
        """Return the row, after where its projection stood."""
        return self.found[_PLACE:]

    def place(self) -> tuple[Any, ...]:
        """Return where the generation stood that the row is of."""
        return self.found[: _PLACE - 1]


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
        self._placing: Placing | None = None  # of all that is read in this session
        self._has_read = False
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
                    row = await self._get_one(table, values)
                    return None if row[codec.names.index(table.key[0])] is None else codec.decode(row)

        rows, _ = await self._run(lambda placing: _Read(self._codec(placing, table).get, values))
        return codec.decode(rows[0]) if rows else None

    def _codec(self, placing: Placing, table: Table) -> PostgresRowCodec:
        return codec_of(self._readers.live.table(placing, table), self._readers.schema)

    async def _get_one(self, table: Table, values: Sequence[Any]) -> tuple[Any, ...]:
        """Read a row and its freshness in one statement, which is a snapshot by itself."""
        readers, projection = self._readers, self._readers.projection_of[table.name]

        def placed(placing: Placing) -> _Read:
            where = (projection, placing.generations.get(projection, 0))
            return _Read(readers.with_freshness(self._codec(placing, table)), (*values, *where))

        rows, read = await self._over_live(placed, readers.fetch_alone)
        self._first = first = _First(read, projection, tuple(rows[0]))
        self._is_for_one = False
        readers.live.see(first.found[_PLACE - 1])
        return first.row()

    async def freshness(self, projection: str) -> Freshness:
        """Where this projection stands in this snapshot: that generation of it which this session reads."""
        known_to(self._readers.projections, projection)
        found: Sequence[Any]
        if self._first is not None and self._first.projection == projection:
            self._is_told = True
            found, generation = self._first.found, self._first.read.values[-1]
        else:
            sql = self._readers.freshness
            rows, read = await self._run(lambda at: _Read(sql, (projection, at.generations.get(projection, 0))))
            found, generation = rows[0] if rows else _NOWHERE, read.values[-1]
            self._readers.live.see(found[_PLACE - 1])
        position, epoch, event_id, recorded_at, parked, *_ = found
        checkpoint = Checkpoint() if position is None else Checkpoint(position, epoch, event_id, recorded_at)
        return Freshness(checkpoint, parked or 0, generation)

    async def fetch(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one SELECT; what asyncpg made of its values comes back."""
        rows, _ = await self._run(self._judged(sql, parameters))
        return list(map(tuple, rows))

    async def select(self, sql: str, parameters: Mapping[str, Any]) -> Selected:
        """Run one SELECT, its values made Python's by the columns they are named as."""
        rows, read = await self._run(self._judged(sql, parameters))
        assert read.verdict is not None
        return self._readers.statements.selected(read.verdict, rows)

    def decode(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Build rows of raw values that stand in the order of the table's columns."""
        return codec_of(table, self._readers.schema).decode_all(rows)

    def _judged(self, sql: str, parameters: Mapping[str, Any]) -> _Placed:
        statements = self._readers.statements

        async def placed(placing: Placing) -> _Read:
            verdict = await statements.allowed(sql, placing)
            return _Read(verdict.text.sql, statements.bind(verdict, parameters), verdict)

        return placed

    async def _run(self, placed: _Placed) -> tuple[list[Any], _Read]:
        """Run a statement in the session's transaction."""
        async with self._turn:
            return await self._over_live(placed, self._fetch)

    async def _fetch(self, read: _Read) -> list[Any]:
        held = self._held or await self._begin()
        try:
            return await held.fetch(read.sql, *read.values)
        except DRIVER_ERRORS as error:
            raise self._failed(held, error) from error

    async def _over_live(
        self, placed: _Placed, fetch: Callable[[_Read], Awaitable[list[Any]]]
    ) -> tuple[list[Any], _Read]:
        """Read of the generations that are live for this session.

        What is the first of its snapshot, and finds one dropped, is read again of those that are live now.
        """
        is_again = False
        while True:
            self._check_usable()
            placing = self._placing
            if placing is None:
                placing = self._placing = await self._readers.live.placing()
            try:
                made = placed(placing)
                read = made if isinstance(made, _Read) else await made
                rows = await fetch(read)
            except GoneError as error:
                await self._look_again()
                if is_again or self._has_read:
                    raise StoreUnavailableError(
                        f"{self._readers.pool.database}: rows that this query reads were replaced by others meanwhile "
                        f"({error}). Try again."
                    ) from error
            else:
                self._has_read = True
                return rows, read
            is_again = True

    async def _look_again(self) -> None:
        """See what is live now; a session that has read nothing begins again with that."""
        if not self._has_read:
            held, self._held = self._held, None
            self._failure = self._placing = None
            if held is not None:
                self._readers.pool.release(held, is_sound=False)
        await self._readers.live.look()

    def _failed(self, held: Connection, error: BaseException) -> Exception:
        if getattr(error, "severity", None) is not None:  # the server's: it has given the transaction up
            self._failure = first_line(error)
        if isinstance(error, TimeoutError):
            held.terminate()
        return self._readers.refused(error)

    async def _begin(self) -> Connection:
        """Take the session's connection, and begin its snapshot."""
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
        return held

    async def _confirm_first(self, held: Connection) -> None:
        """:raises SnapshotIsGone: what was read before the transaction is not what it shows."""
        first, self._is_for_one = self._first, False
        if first is not None:
            try:
                (found,) = await held.fetch(first.read.sql, *first.read.values)
            except asyncpg.UndefinedTableError as error:  # its generation was dropped
                self._failure = first_line(error)
                raise SnapshotIsGone from error
            self._first = again = first._replace(found=tuple(found))
            if again.row() != first.row() or (self._is_told and again.place() != first.place()):
                raise SnapshotIsGone

    def _check_usable(self) -> None:
        if self._is_closed:
            raise ProgrammingError("This read session has ended. Read inside the query handler, and await it there.")
        if self._failure is not None:
            raise ProgrammingError(f"An earlier read failed, and its snapshot is gone with it ({self._failure}).")
