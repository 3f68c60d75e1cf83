"""The view store on SQLite: rows and their checkpoints, in a file of their own or beside the log.

Rule: everything is written by one `Writer`, in one transaction with its checkpoint (P1, P2).
"""

import asyncio
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import apsw

from diptych.errors import StoreUnavailableError
from diptych.events.recorded import StoredEvent
from diptych.store.alerts import Alerts
from diptych.store.batches import Checkpoint, Fold, Load, ParkedEvent, ProjectionTables, ViewBatch
from diptych.store.generations import Generations
from diptych.store.leases import Leases
from diptych.store.owners import known_to
from diptych.store.placing import Known
from diptych.store.protocols import ReadSession, StoreSettings
from diptych.store.sqlite.alerts import SqliteAlerts
from diptych.store.sqlite.changes import (
    fold_inline,
    load_rows,
    read_live,
    read_parked,
    read_places,
    write_batch,
)
from diptych.store.sqlite.connection import DatabaseFile, open_reader, translate
from diptych.store.sqlite.connections import ConnectionPool, PooledConnection
from diptych.store.sqlite.generations import SqliteGenerations
from diptych.store.sqlite.leases import SqliteLeases
from diptych.store.sqlite.reader import Readers, Shelf
from diptych.store.sqlite.shapes import VIEWS_APPLICATION_ID, VIEWS_SCHEMA, forget, make_first, prepare
from diptych.store.sqlite.writer import Task, Writer
from diptych.store.tables import Table

T = TypeVar("T")

_FEW: Final = 32  # keys that are looked up faster than a thread is woken
_LOADERS: Final = 4


def views_file(path: str) -> DatabaseFile:
    """Return the description of a file of rows."""
    return DatabaseFile(path, VIEWS_APPLICATION_ID, VIEWS_SCHEMA)


class SqliteViewStore:
    """Rows of read models in an SQLite file. Delete the file, and its projections are built again.

    With the event store's `writer` its rows live beside the log and may be folded inside an append. `inline` is that
    other store: sessions of this one read the rows of both.
    """

    def __init__(
        self,
        file: DatabaseFile,
        settings: StoreSettings,
        *,
        writer: Writer | None = None,
        inline: "SqliteViewStore | None" = None,
        query_seconds: float = 10.0,
    ) -> None:
        self.file, self._settings, self._inline, self._query_seconds = file, settings, inline, query_seconds
        self._shared_writer = writer
        self._writer = writer
        self._known: Mapping[str, Known] = {}
        self._store_id: UUID | None = None
        self._loaders: ConnectionPool | None = None
        self._readers: Readers | None = None
        self.generations: Generations = SqliteGenerations(file, self._submit, is_beside_log=writer is not None)
        self.leases: Leases = SqliteLeases(self._submit, self._read)
        self.alerts: Alerts = SqliteAlerts(self._submit)

    @property
    def tables(self) -> Mapping[str, Sequence[Table]]:
        """The tables of each projection that the store was opened with."""
        return {name: known.projection.tables for name, known in self._known.items()}

    @property
    def connections_in_use(self) -> int:
        """How many reading connections are handed out now; none when nobody reads."""
        pools = [self._loaders, self._readers.pool if self._readers else None]
        return sum(pool.in_use for pool in pools if pool is not None)

    async def open(self, projections: Sequence[ProjectionTables], *, store_id: UUID) -> None:
        """Create what is missing. A projection that was never seen gets a first generation, which is live."""
        self._known, self._store_id = {each.name: Known(each) for each in projections}, store_id
        if self._shared_writer is not None:
            await self._shared_writer.submit(Task(self._prepare))
        else:
            self._writer = Writer(self.file, self._settings, synchronous="normal", prepare=self._prepare)
            await self._writer.open()
        await self._close_readers()
        self._loaders = ConnectionPool((self.file.path,), self._open_loader, size=_LOADERS)
        self._readers = self._make_readers()

    def _prepare(self, connection: apsw.Connection) -> None:
        assert self._store_id is not None
        try:
            prepare(connection, self.file, self._store_id)
            if self._inline is not None:
                forget(connection, self._inline.tables)
            make_first(connection, [known.projection for known in self._known.values()])
        except apsw.Error as error:
            raise translate(error, self.file.path, connection.system_errno) from error

    def _open_loader(self) -> PooledConnection:
        return PooledConnection(open_reader(self.file))

    def _make_readers(self) -> Readers:
        stores = [self] if self._inline is None or not self._inline.tables else [self, self._inline]
        shelves = [
            Shelf(place, store.file, store.tables) for place, store in zip(("main", "inline"), stores, strict=False)
        ]
        return Readers(shelves, query_seconds=self._query_seconds)

    async def _close_readers(self) -> None:
        loaders, readers, self._loaders, self._readers = self._loaders, self._readers, None, None
        if loaders is not None and readers is not None:
            loaders.close()
            await readers.close()

    async def close(self) -> None:
        """Let go of every connection, thread and file."""
        await self._close_readers()
        writer, self._writer = self._writer, self._shared_writer
        if writer is not None and writer is not self._shared_writer:
            await writer.close()

    async def checkpoint(self, projection: str) -> Checkpoint:
        """How far this projection is on disk: the least lane of its live generation."""
        return min(await self.places(projection), default=Checkpoint())

    async def places(self, projection: str, generation: int | None = None) -> Sequence[Checkpoint]:
        """How far each lane is on disk, by lane; of the live generation if none is named."""
        return await self._read(
            lambda connection: read_places(connection, projection, generation or read_live(connection, projection))
        )

    async def parked(self, projection: str, generation: int | None = None) -> Sequence[ParkedEvent]:
        """All parked events of a generation (the live one if none is named), by position."""
        return await self._read(
            lambda connection: read_parked(connection, projection, generation or read_live(connection, projection))
        )

    async def load(self, generation: int, loads: Sequence[Load]) -> Mapping[str, Sequence[Any]]:
        """Fetch rows, built, by table name; each row once. Few of them on the caller's thread, many in another."""
        is_quick = sum([len(each.values) for each in loads]) <= _FEW and all(
            each.columns == each.table.key for each in loads
        )
        return await self._read(lambda connection: load_rows(connection, loads, generation), in_thread=not is_quick)

    async def commit(self, batch: ViewBatch) -> None:
        """Write all of it or nothing. :raises CheckpointMovedError: somebody else was there; nothing is written."""
        if self._writer is None:
            raise self._not_open()
        placing = known_to(self._known, batch.projection).placing(batch.generation)
        await self._submit(Task(lambda connection: write_batch(connection, batch, placing)))

    async def _submit(self, task: Task[T]) -> T:
        if self._writer is None:
            raise self._not_open()
        outcome: T = await self._writer.submit(task)
        return outcome

    def reader(self, *, is_for_one: bool = False) -> AbstractAsyncContextManager[ReadSession]:
        """One snapshot, from the first read in it to its end; it costs nothing until then."""
        if self._readers is None:
            raise self._not_open()
        return self._readers.session()

    @property
    def reads_a_copy(self) -> bool:
        """Never: sessions read the file itself."""
        return False

    async def is_copied(self, seconds: float) -> bool:
        """At once."""
        return True

    def fold_inline(
        self, connection: apsw.Connection, fold: Fold, events: Sequence[StoredEvent], head_before: int
    ) -> bool:
        """Fold one append's events inside its transaction; False when the projection was not at `head_before`."""
        return fold_inline(connection, fold, events, head_before, known_to(self._known, fold.name))

    def write_beside(self, connection: apsw.Connection, batch: ViewBatch) -> None:
        """Write what commits with one append, inside its transaction."""
        write_batch(connection, batch, known_to(self._known, batch.projection).placing(batch.generation))

    async def fold(self, folds: Sequence[Fold], events: Sequence[StoredEvent], head_before: int) -> Sequence[str]:
        """Fold one append's events in a transaction of this store: for an event store that has none of its own."""

        def work(connection: apsw.Connection) -> list[str]:
            return [each.name for each in folds if self.fold_inline(connection, each, events, head_before)]

        return await self._submit(Task(work))

    async def _read(self, work: Callable[[apsw.Connection], T], *, in_thread: bool = False) -> T:
        pool, readers = self._loaders, self._readers
        if pool is None or readers is None:
            raise self._not_open()
        held = await pool.acquire()

        def run() -> T:
            is_broken = True
            try:
                result = work(held.connection)
                is_broken = False
            except apsw.Error as error:
                raise translate(error, self.file.path, held.connection.system_errno) from error
            finally:
                pool.release(held, is_broken=is_broken)
            return result

        if not in_thread:
            return run()
        try:
            running = readers.threads.submit(run)
        except RuntimeError:
            pool.release(held)
            raise self._not_open() from None
        running.add_done_callback(lambda done: pool.release(held) if done.cancelled() else None)
        return await asyncio.wrap_future(running)

    def _not_open(self) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self.file.path} is not open. Open the store first.")


def temporary_view_store(settings: StoreSettings, inline: SqliteViewStore | None = None) -> SqliteViewStore:
    """Return a view store for `memory:`, in a folder that is gone with it: several snapshots at once need a file."""
    folder = tempfile.mkdtemp(prefix="diptych-")
    store = SqliteViewStore(views_file(str(Path(folder) / "views.db")), settings, inline=inline)
    weakref.finalize(store, shutil.rmtree, folder, ignore_errors=True)
    return store
