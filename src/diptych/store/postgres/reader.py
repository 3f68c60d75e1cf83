"""Reading for query handlers: one snapshot, in a transaction that can do nothing else (R4).

Rule: a session that reads nothing costs nothing; one that ends, however it ends, gives its connection back.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

import asyncpg

from diptych.errors import ProgrammingError, StoreUnavailableError, ValueDoesNotFitError
from diptych.store.batches import Checkpoint, Freshness
from diptych.store.owners import known_to
from diptych.store.placing import Placing
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.guard import GoneError, Judge, Verdict, first_line
from diptych.store.postgres.live import Live
from diptych.store.postgres.migrations import in_schema
from diptych.store.postgres.rows import codec_of
from diptych.store.postgres.statements import Statements
from diptych.store.protocols import Selected
from diptych.store.rows import quoted
from diptych.store.tables import Table
from diptych.store.values import asked_for

CONNECTIONS: Final = 8
_FRESHNESS: Final = """
SELECT v.swaps, CASE WHEN v.swaps <> $3 THEN (SELECT json_object_agg(projection, live) FROM diptych.projections) END,
    c.position, c.epoch, c.event_id, c.recorded_at,
    (SELECT count(*) FROM diptych.parked_events WHERE projection = $1 AND generation = $2)
FROM diptych.view_store v LEFT JOIN LATERAL (
    SELECT * FROM diptych.projection_checkpoints WHERE projection = $1 AND generation = $2
    ORDER BY position LIMIT 1) c ON true
"""


class Readers:
    """What all sessions of a view store share: the connections, and the tables they may read, by projection."""

    def __init__(self, pool: Connections, judge: Judge, tables: Mapping[str, Sequence[Table]]) -> None:
        self.pool, self.projections = pool, dict.fromkeys(tables, True)
        self.schema = pool.database.schema
        self.begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {quoted(self.schema)}"
        self.statements = Statements(
            pool.database, judge, {table.name: table for each in tables.values() for table in each}
        )
        self.freshness = in_schema(_FRESHNESS, self.schema)
        self.live = Live(pool, tables)

    def session(self) -> "PostgresReadSession":
        """Return a session; it opens nothing before its first read."""
        return PostgresReadSession(self)


class _Read(NamedTuple):
    """A statement with its values, as it is for the generations of a session."""

    sql: str
    values: Sequence[Any]
    verdict: Verdict | None = None


class PostgresReadSession:
    """One snapshot, from the first read in it to its end. Its reads happen one after the other."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
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

        async def placed(placing: Placing) -> _Read:
            return _Read(codec_of(self._readers.live.table(placing, table), self._readers.schema).get, values)

        rows, _ = await self._run(placed)
        return codec.decode(rows[0]) if rows else None

    async def freshness(self, projection: str) -> Freshness:
        """Where this projection stands in this snapshot: that generation of it which this session reads."""
        known_to(self._readers.projections, projection)
        live, generation = self._readers.live, 0

        async def placed(placing: Placing) -> _Read:
            nonlocal generation
            generation = placing.generations.get(projection, 0)
            return _Read(self._readers.freshness, (projection, generation, live.swaps))

        ((row,), _) = await self._run(placed)
        swaps, found, position, epoch, event_id, recorded_at, parked = row
        live.hear(swaps, None if found is None else json.loads(found))
        checkpoint = Checkpoint() if position is None else Checkpoint(position, epoch, event_id, recorded_at)
        return Freshness(checkpoint, parked, generation)

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

    def _judged(self, sql: str, parameters: Mapping[str, Any]) -> Callable[[Placing], Awaitable[_Read]]:
        statements = self._readers.statements

        async def placed(placing: Placing) -> _Read:
            verdict = await statements.allowed(sql, placing)
            return _Read(verdict.text.sql, statements.bind(verdict, parameters), verdict)

        return placed

    async def _run(self, placed: Callable[[Placing], Awaitable[_Read]]) -> tuple[list[Any], _Read]:
        """Run what `placed` makes for the session's generations.

        What is the first of its snapshot, and finds a generation dropped, is run again over those that are live now.
        """
        async with self._turn:
            is_again = False
            while True:
                try:
                    return await self._try(placed)
                except GoneError as error:
                    await self._look_again()
                    if is_again or self._has_read:
                        raise StoreUnavailableError(
                            f"{self._readers.pool.database}: rows that this query reads were replaced by others "
                            f"meanwhile ({error}). Try again."
                        ) from error
                is_again = True

    async def _try(self, placed: Callable[[Placing], Awaitable[_Read]]) -> tuple[list[Any], _Read]:
        self._check_usable()
        if self._placing is None:
            self._placing = await self._readers.live.placing()
        read = await placed(self._placing)
        held = await self._begin()
        try:
            rows = await held.fetch(read.sql, *read.values)
        except DRIVER_ERRORS as error:
            if getattr(error, "severity", None) is not None:  # the server's: it has given the transaction up
                self._failure = first_line(error)
            if isinstance(error, asyncpg.UndefinedTableError):
                raise GoneError(first_line(error)) from error
            raise self._readers.statements.refusal(error) from error
        self._has_read = True
        return rows, read

    async def _look_again(self) -> None:
        """See what is live now; a session that has read nothing begins again with that."""
        if not self._has_read:
            held, self._held = self._held, None
            self._failure = self._placing = None
            if held is not None:
                self._readers.pool.release(held, is_sound=False)
        await self._readers.live.look()

    def _check_usable(self) -> None:
        if self._is_closed:
            raise ProgrammingError("This read session has ended. Read inside the query handler, and await it there.")
        if self._failure is not None:
            raise ProgrammingError(f"An earlier read failed, and its snapshot is gone with it ({self._failure}).")

    async def _begin(self) -> Connection:
        """Return the session's connection, taken and its snapshot begun at the first call."""
        if self._held is None:
            held = await self._readers.pool.acquire()
            if self._is_closed:
                self._readers.pool.release(held)
                raise ProgrammingError("This read session ended while it waited for a connection.")
            self._held = held
            try:
                await held.execute(self._readers.begin)
            except DRIVER_ERRORS as error:
                raise self._readers.statements.refusal(error) from error
        return self._held
