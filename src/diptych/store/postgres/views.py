"""The view store on PostgreSQL: rows and their checkpoints, in the schema of the log or in a database of their own.

Rule: rows are written in one transaction with their checkpoint (P1, P2), by compare-and-set: any process may write.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final
from uuid import UUID

from diptych.errors import StoreUnavailableError
from diptych.events.recorded import StoredEvent
from diptych.store.owners import known_to, refuse_shared
from diptych.store.postgres.changes import Changes, Shape
from diptych.store.postgres.connection import Connection, Database
from diptych.store.postgres.connections import Connections
from diptych.store.postgres.guard import Judge
from diptych.store.postgres.migrations import migrate
from diptych.store.postgres.reader import CONNECTIONS, Readers
from diptych.store.postgres.replica import Replica
from diptych.store.postgres.shapes import Shapes, digest
from diptych.store.protocols import (
    Checkpoint,
    Fold,
    Load,
    ParkedEvent,
    ProjectionTables,
    ReadSession,
    StoreSettings,
    ViewBatch,
)
from diptych.store.tables import Table

_WRITERS: Final = 4
_COPY_SECONDS: Final = 5.0
_WRITE_SECONDS: Final = 60.0  # that a statement of hand-written SQL may run
_IDLE_SECONDS: Final = 60  # in a transaction: who holds a snapshot for longer keeps the server from tidying up


class PostgresViewStore:
    """Rows of read models in a schema. Drop them, and their projections are built again.

    `inline` is the store of the rows that are folded inside appends, in the same schema: sessions of this one read the
    rows of both.
    """

    def __init__(
        self,
        database: Database,
        settings: StoreSettings,
        *,
        inline: "PostgresViewStore | None" = None,
        is_beside_log: bool = False,
        read_from: Database | None = None,
        query_seconds: float = 10.0,
    ) -> None:
        """`is_beside_log`: the log is in the same schema, so that a checkpoint is held against it.

        `read_from` is a copy of the database, which sessions read instead; it may be behind.
        """
        self.database, self._settings, self._inline, self._query_seconds = database, settings, inline, query_seconds
        self._read_from, self._is_beside_log = read_from, is_beside_log
        self._replica: Replica | None = None
        self._shapes: dict[str, Shape] = {}
        self._pools: list[Connections] = []
        self._rows: Connections | None = None
        self._changes: Changes | None = None
        self._readers: Readers | None = None

    @property
    def tables(self) -> Mapping[str, Sequence[Table]]:
        """The tables of each projection that the store was opened with."""
        return {name: shape.tables for name, shape in self._shapes.items()}

    @property
    def connections_in_use(self) -> int:
        """How many connections are handed out now; none when nobody reads or writes."""
        return sum(pool.in_use for pool in self._pools)

    async def open(self, projections: Sequence[ProjectionTables], *, store_id: UUID) -> None:
        """Create what is missing. A projection whose tables changed shape, or whose version differs, starts from 0."""
        refuse_shared(projections)
        await self.close()
        self._shapes = {each.name: Shape(tuple(each.tables), each.version, digest(each)) for each in projections}
        others = self._inline.tables if self._inline is not None else {}
        waiting = {"lock_timeout": _milliseconds(self._settings.lock_timeout)}
        idle = {"idle_in_transaction_session_timeout": _milliseconds(_IDLE_SECONDS)}
        # Lost together, a checkpoint and its rows are made again from the log: as in SQLite's file of rows.
        # A copy gets them when they are on disk, so where there is one that is not left for later.
        commit = "off" if self._read_from is None else "local"
        rows = self._pool(_WRITERS, {"synchronous_commit": commit, **waiting, **idle}, _WRITE_SECONDS)
        async with rows.connection() as connection:
            await migrate(connection, self.database, "views")
            await connection.execute("BEGIN")
            shapes = Shapes(connection, self.database, self._settings.reader)
            await shapes.prepare(store_id)
            await shapes.shape(projections, others)
            await connection.execute("COMMIT")
        judge = Judge(self._pool(1, {**waiting, **idle}, self._settings.lock_timeout))
        reading = {"statement_timeout": _milliseconds(self._query_seconds), **idle}
        if self._settings.reader:
            reading["role"] = self._settings.reader
        readers = self._pool(CONNECTIONS, reading, self._query_seconds, self._read_from)
        self._replica = None if self._read_from is None else Replica(rows, readers)
        self._readers = Readers(readers, judge, {**self.tables, **others})
        self._changes, self._rows = Changes(self.database, judge, is_beside_log=self._is_beside_log), rows
        await self.is_copied(_COPY_SECONDS)  # else the first to read there finds no tables; a copy may be away, too

    def _pool(
        self, size: int, settings: Mapping[str, str], seconds: float, copy: Database | None = None
    ) -> Connections:
        """`seconds`: how long a statement may take there."""
        pool = Connections(
            copy or self.database,
            size=size,
            settings=settings,
            writes=copy is None,
            answers_within=seconds + self._settings.answer_timeout,
        )
        self._pools.append(pool)
        return pool

    async def close(self) -> None:
        """Let go of every connection."""
        pools, self._pools = self._pools, []
        self._rows = self._changes = self._readers = self._replica = None
        for pool in pools:
            await pool.close()

    async def checkpoint(self, projection: str, lane: int = 0) -> Checkpoint:
        """How far this projection is on disk."""
        async with self._connection() as (connection, changes):
            return await changes.read_checkpoint(connection, projection, lane)

    async def parked(self, projection: str) -> Sequence[ParkedEvent]:
        """All parked events of a projection, by position."""
        async with self._connection() as (connection, changes):
            return await changes.read_parked(connection, projection)

    async def load(self, loads: Sequence[Load]) -> Mapping[str, Sequence[Any]]:
        """Fetch rows, built, by table name; each row once."""
        async with self._connection() as (connection, changes):
            return await changes.load_rows(connection, loads)

    async def commit(self, batch: ViewBatch) -> None:
        """Write all of it or nothing. :raises CheckpointMovedError: somebody else was there; nothing is written."""
        async with self._connection() as (connection, changes):
            shape = known_to(self._shapes, batch.projection)
            is_simple = batch.script is None and not batch.parked and not batch.unparked
            if is_simple and await changes.write_at_once(connection, batch, shape):
                return
            await connection.execute("BEGIN")
            await changes.write_batch(connection, batch, shape)
            await connection.execute("COMMIT")

    def reader(self, *, is_for_one: bool = False) -> AbstractAsyncContextManager[ReadSession]:
        """One snapshot, from the first read in it to its end; it costs nothing until then.

        A session for one `get` asks for it and for its freshness in one statement.
        """
        if self._readers is None:
            raise self._not_open()
        return self._readers.session(is_for_one=is_for_one)

    @property
    def reads_a_copy(self) -> bool:
        """Whether sessions read a copy that may be behind what was committed."""
        return self._read_from is not None

    async def is_copied(self, seconds: float) -> bool:
        """Wait until sessions see all that is committed now. False: not in time, or the copy cannot be asked."""
        if self._replica is None:
            return True
        try:
            return await self._replica.has_followed(seconds)
        except StoreUnavailableError:
            return False

    async def fold_inline(
        self, connection: Connection, fold: Fold, events: Sequence[StoredEvent], head_before: int
    ) -> bool:
        """Fold one append's events inside its transaction, whose connection this is.

        False, and nothing done, when the projection was not at `head_before` or its tables are another version's.
        """
        if self._changes is None:
            raise self._not_open()
        shape = known_to(self._shapes, fold.name)
        return await self._changes.fold_inline(connection, fold, events, head_before, shape)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[Connection, Changes]]:
        if self._rows is None or self._changes is None:
            raise self._not_open()
        changes = self._changes
        async with self._rows.connection() as connection:
            yield connection, changes

    def _not_open(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self.database} is not open. Open the store first.")


def _milliseconds(seconds: float) -> str:
    return str(max(int(seconds * 1000), 1))
