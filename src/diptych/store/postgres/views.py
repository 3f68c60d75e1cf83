"""The view store on PostgreSQL: rows and their checkpoints, in the schema of the log or in a database of their own.

Rule: rows are written in one transaction with their checkpoint (P1, P2), by compare-and-set: any process may write.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final
from uuid import UUID

from diptych.errors import ConfigurationError, StoreUnavailableError
from diptych.events.recorded import StoredEvent
from diptych.store.batches import Checkpoint, Fold, Load, ParkedEvent, ProjectionTables, ViewBatch
from diptych.store.owners import known_to, refuse_shared
from diptych.store.placing import Known, Placing
from diptych.store.postgres.alerts import PostgresAlerts
from diptych.store.postgres.changes import Changes, LostError
from diptych.store.postgres.connection import Connection, Database
from diptych.store.postgres.connections import Connections, transaction
from diptych.store.postgres.fence import LET_IN
from diptych.store.postgres.generations import PostgresGenerations
from diptych.store.postgres.guard import Judge
from diptych.store.postgres.leases import PostgresLeases
from diptych.store.postgres.migrations import migrate
from diptych.store.postgres.reader import CONNECTIONS, Readers
from diptych.store.postgres.replica import Replica
from diptych.store.postgres.shapes import Shapes
from diptych.store.protocols import ReadSession, StoreSettings
from diptych.store.tables import Table

_WRITERS: Final = 4
_BUILDERS: Final = 3  # for what may take long: making indexes, comparing
_COPY_SECONDS: Final = 5.0
_WRITE_SECONDS: Final = 60.0  # that a statement of hand-written SQL may run
_BUILD_SECONDS: Final = 86_400.0
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
        self._known: dict[str, Known] = {}
        self._pools: list[Connections] = []
        self._rows: Connections | None = None
        self._builds: Connections | None = None
        self._changes: Changes | None = None
        self._readers: Readers | None = None
        self.generations = PostgresGenerations(self._building, database, settings.reader, self._seen)
        self.alerts = PostgresAlerts(self._writing, database.schema)
        self.leases = PostgresLeases(self._writing, database.schema, self._seen, self.generations.show)

    @property
    def tables(self) -> Mapping[str, Sequence[Table]]:
        """The tables of each projection that the store was opened with."""
        return {name: known.projection.tables for name, known in self._known.items()}

    @property
    def connections_in_use(self) -> int:
        """How many connections are handed out now; none when nobody reads or writes."""
        return sum(pool.in_use for pool in self._pools)

    async def open(self, projections: Sequence[ProjectionTables], *, store_id: UUID) -> None:
        """Create what is missing. A projection that was never seen gets a first generation, which is live."""
        refuse_shared(projections)
        await self.close()
        others = self._inline.tables if self._inline is not None else {}
        _refuse_others(projections, others)
        self._known = {each.name: Known(each) for each in projections}
        waiting = {"lock_timeout": _milliseconds(self._settings.lock_timeout)}
        idle = {"idle_in_transaction_session_timeout": _milliseconds(_IDLE_SECONDS)}
        # Lost together, a checkpoint and its rows are made again from the log: as in SQLite's file of rows.
        # A copy gets them when they are on disk, so where there is one that is not left for later.
        writing = {"synchronous_commit": "off" if self._read_from is None else "local", **waiting, **LET_IN}
        # Who stands still with rows locked loses them before those who take over give up.
        moving = {"idle_in_transaction_session_timeout": _milliseconds(self._settings.lock_timeout / 2)}
        rows = self._pool(_WRITERS, {**writing, **moving}, _WRITE_SECONDS)
        self._builds = self._pool(_BUILDERS, {**writing, **idle}, _BUILD_SECONDS)
        async with rows.connection() as connection:
            await migrate(connection, self.database, "views")
            async with transaction(connection):
                shapes = Shapes(connection, self.database, self._settings.reader)
                await shapes.lock()
                await shapes.prepare(store_id)
                await shapes.make_first(projections)
                live = await shapes.live()
        judge = Judge(self._pool(1, {**waiting, **idle}, self._settings.lock_timeout))
        reading = {"statement_timeout": _milliseconds(self._query_seconds), **idle}
        if self._settings.reader:
            reading["role"] = self._settings.reader
        readers = self._pool(CONNECTIONS, reading, self._query_seconds, self._read_from)
        self._replica = None if self._read_from is None else Replica(rows, readers)
        self._readers = Readers(readers, judge, {**self.tables, **others})
        await self._readers.expect(*live)
        self._changes, self._rows = Changes(self.database, judge, is_beside_log=self._is_beside_log), rows
        await self.generations.show_all(list(self._known))
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
        self._rows = self._builds = self._changes = self._readers = self._replica = None
        for pool in pools:
            await pool.close()

    async def checkpoint(self, projection: str) -> Checkpoint:
        """How far this projection is on disk: the least lane of its live generation; the beginning if it has none."""
        async with self._connection() as (connection, changes):
            return await changes.read_checkpoint(connection, projection)

    async def places(self, projection: str, generation: int | None = None) -> Sequence[Checkpoint]:
        """How far each lane is on disk, by lane; of the live generation if none is named."""
        async with self._connection() as (connection, changes):
            number = generation or await changes.read_live(connection, projection)
            return await changes.read_places(connection, projection, number)

    async def parked(self, projection: str, generation: int | None = None) -> Sequence[ParkedEvent]:
        """All parked events of a generation (the live one if none is named), by position."""
        async with self._connection() as (connection, changes):
            number = generation or await changes.read_live(connection, projection)
            return await changes.read_parked(connection, projection, number)

    async def load(self, generation: int, loads: Sequence[Load]) -> Mapping[str, Sequence[Any]]:
        """Fetch rows of a generation, built, by plain table name; each row once."""
        async with self._connection() as (connection, changes):
            return await changes.load_rows(connection, generation, loads)

    async def commit(self, batch: ViewBatch) -> None:
        """Write all of it or nothing. :raises CheckpointMovedError: somebody else was there; nothing is written."""
        async with self._connection() as (connection, changes):
            try:
                if not _needs_steps(batch):
                    await changes.write_at_once(connection, batch)
                else:
                    async with transaction(connection):
                        await changes.write_batch(connection, batch, _placing(self._known, batch))
            except LostError as error:
                raise await changes.moved(connection, batch, error) from error

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
        """Fold one append's events inside its transaction; False as `Changes.fold_inline` says."""
        if self._changes is None:
            raise self._not_open()
        return await self._changes.fold_inline(connection, fold, events, head_before, known_to(self._known, fold.name))

    async def write_beside(self, connection: Connection, batch: ViewBatch) -> None:
        """Write what commits with one append inside its transaction, whose connection this is."""
        if self._changes is None:
            raise self._not_open()
        try:
            await self._changes.write_batch(connection, batch, _placing(self._known, batch))
        except LostError as error:
            raise await self._changes.moved(connection, batch, error) from error

    def _seen(self, swaps: int, live: Mapping[str, int]) -> None:
        if self._readers is not None and self._replica is None:
            self._readers.live.hear(swaps, live)
        elif self._readers is not None:  # the copy may not have those tables yet
            self._readers.live.see(swaps)

    def _writing(self) -> AbstractAsyncContextManager[Connection]:
        return self._of(self._rows)

    def _building(self) -> AbstractAsyncContextManager[Connection]:
        return self._of(self._builds)

    def _of(self, pool: Connections | None) -> AbstractAsyncContextManager[Connection]:
        if pool is None:
            raise self._not_open()
        return pool.connection()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[Connection, Changes]]:
        async with self._writing() as connection:
            assert self._changes is not None
            yield connection, self._changes

    def _not_open(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self.database} is not open. Open the store first.")


def _placing(known: Mapping[str, Known], batch: ViewBatch) -> Placing:
    return known_to(known, batch.projection).placing(batch.generation)


def _needs_steps(batch: ViewBatch) -> bool:
    return bool(batch.script or batch.parked or batch.unparked or batch.answer or batch.guards or not batch.moves)


def _milliseconds(seconds: float) -> str:
    return str(max(int(seconds * 1000), 1))


def _refuse_others(projections: Sequence[ProjectionTables], others: Mapping[str, Sequence[Table]]) -> None:
    """:raises ConfigurationError: a table is one that rows beside the log are kept in."""
    owners = {table.name: name for name, tables in others.items() for table in tables}
    for projection in projections:
        for table in projection.tables:
            if table.name in owners:
                raise ConfigurationError(
                    f"{projection.name}: the table {table.name} belongs to projection {owners[table.name]}. "
                    "Give the read model another name."
                )
