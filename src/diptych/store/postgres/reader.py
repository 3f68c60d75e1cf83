"""Reading for query handlers: one snapshot, in a transaction that can do nothing else (R4).

Rule: a session that reads nothing costs nothing; one that ends, however it ends, gives its connection back.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from diptych.errors import DiptychError, ProgrammingError, ValueDoesNotFitError
from diptych.store.owners import known_to
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.guard import Judge, first_line
from diptych.store.postgres.rows import codec_of
from diptych.store.postgres.statements import Statements
from diptych.store.protocols import Checkpoint, Freshness, Selected
from diptych.store.rows import quoted
from diptych.store.tables import Table
from diptych.store.values import asked_for

CONNECTIONS: Final = 8


class Readers:
    """What all sessions of a view store share: the connections, and the tables they may read, by projection."""

    def __init__(self, pool: Connections, judge: Judge, tables: Mapping[str, Sequence[Table]]) -> None:
        self.pool, self.projections = pool, dict.fromkeys(tables, True)
        self.schema = pool.database.schema
        place = quoted(self.schema)
        self.begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {place}"
        by_name = {table.name: table for owned in tables.values() for table in owned}
        self.statements = Statements(pool.database, judge, by_name)
        self.freshness = (
            "SELECT position, epoch, event_id, recorded_at, "  # noqa: S608 - a quoted name
            f"(SELECT count(*) FROM {place}.parked_events WHERE projection = $1) "
            f"FROM {place}.projection_checkpoints WHERE projection = $1 ORDER BY position LIMIT 1"
        )

    def session(self) -> "PostgresReadSession":
        """Return a session; it opens nothing before its first read."""
        return PostgresReadSession(self)


class PostgresReadSession:
    """One snapshot, from the first read in it to its end. Its reads happen one after the other."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
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
        rows = await self._run(codec.get, values)
        return codec.decode(rows[0]) if rows else None

    async def freshness(self, projection: str) -> Freshness:
        """Where this projection stands in this snapshot."""
        known_to(self._readers.projections, projection)
        for position, epoch, event_id, recorded_at, parked in await self._run(self._readers.freshness, (projection,)):
            return Freshness(Checkpoint(position, epoch, event_id, recorded_at), parked)
        return Freshness(Checkpoint())

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
        if self._is_closed:
            raise ProgrammingError("This read session has ended. Read inside the query handler, and await it there.")
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
            except DRIVER_ERRORS as error:
                raise self._failed(held, error) from error
        return self._held
