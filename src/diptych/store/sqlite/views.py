"""The view store on SQLite: rows and their checkpoints, in a file of their own or beside the log.

Rule: everything is written by one `Writer`, in one transaction with its checkpoint (P1, P2).
"""

import asyncio
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import apsw

from diptych.errors import StoreUnavailableError
from diptych.events.recorded import StoredEvent
from diptych.store.owners import known_to
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
from diptych.store.sqlite.changes import (
    fold_inline,
    load_rows,
    read_checkpoint,
    read_parked,
    write_batch,
)
from diptych.store.sqlite.connection import DatabaseFile, open_reader, translate
from diptych.store.sqlite.connections import ConnectionPool, PooledConnection
from diptych.store.sqlite.reader import Readers
from diptych.store.sqlite.shapes import VIEWS_APPLICATION_ID, VIEWS_SCHEMA, forget, has_shape, prepare, shape
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
        self._projections: Mapping[str, ProjectionTables] = {}
        self._tables: dict[str, Sequence[Table]] = {}
        self._store_id: UUID | None = None
        self._is_shaped = False
        self._loaders: ConnectionPool | None = None
        self._readers: Readers | None = None

    @property
    def tables(self) -> Mapping[str, Sequence[Table]]:
        """The tables of each projection that the store was opened with."""
        return self._tables

    @property
    def connections_in_use(self) -> int:
        """How many reading connections are handed out now; none when nobody reads."""
        pools = [self._loaders, self._readers.pool if self._readers else None]
        return sum(pool.in_use for pool in pools if pool is not None)

    async def open(self, projections: Sequence[ProjectionTables], *, store_id: UUID) -> None:
        """Create what is missing. A projection whose tables changed shape, or whose version differs, starts from 0."""
        self._projections, self._store_id = {each.name: each for each in projections}, store_id
        self._is_shaped = False
        self._tables = {each.name: tuple(each.tables) for each in projections}
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
            shape(connection, tuple(self._projections.values()), is_again=self._is_shaped)
            self._is_shaped = True
        except apsw.Error as error:
            raise translate(error, self.file.path, connection.system_errno) from error

    def _open_loader(self) -> PooledConnection:
        return PooledConnection(open_reader(self.file))

    def _make_readers(self) -> Readers:
        files, places, tables = [self.file], dict.fromkeys(self._tables, "main"), dict(self._tables)
        if self._inline is not None and self._inline.tables:
            files.append(self._inline.file)
            places.update(dict.fromkeys(self._inline.tables, "inline"))
            tables.update(self._inline.tables)
        return Readers(files, tables, places, query_seconds=self._query_seconds)

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

    async def checkpoint(self, projection: str, lane: int = 0) -> Checkpoint:
        """How far this projection is on disk."""
        return await self._read(lambda connection: read_checkpoint(connection, projection, lane))

    async def parked(self, projection: str) -> Sequence[ParkedEvent]:
        """All parked events of a projection, by position."""
        return await self._read(lambda connection: read_parked(connection, projection))

    async def load(self, loads: Sequence[Load]) -> Mapping[str, Sequence[Any]]:
        """Fetch rows, built, by table name; each row once. Few of them on the caller's thread, many in another."""
        is_quick = sum([len(each.values) for each in loads]) <= _FEW and all(
            each.columns == each.table.key for each in loads
        )
        return await self._read(lambda connection: load_rows(connection, loads), in_thread=not is_quick)

    async def commit(self, batch: ViewBatch) -> None:
        """Write all of it or nothing. :raises CheckpointMovedError: somebody else was there; nothing is written."""
        if self._writer is None:
            raise self._not_open()
        tables = known_to(self._tables, batch.projection)

        def work(connection: apsw.Connection) -> None:
            if not has_shape(connection, self._projections[batch.projection]):
                raise StoreUnavailableError(
                    f"{self.file.path}: the tables of {batch.projection} were made anew by another version of the "
                    "code. Stop one of the two processes."
                )
            write_batch(connection, batch, tables)

        await self._writer.submit(Task(work))

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
        """Fold one append's events inside its transaction; False when the projection was not at `head_before`.

        Neither when its tables are another version's by now: that one catches it up.
        """
        known = self._projections.get(fold.name)
        if known is not None and not has_shape(connection, known):
            return False
        return fold_inline(connection, fold, events, head_before, partial(known_to, self._tables))

    async def fold(self, folds: Sequence[Fold], events: Sequence[StoredEvent], head_before: int) -> None:
        """Fold one append's events in a transaction of this store: for an event store that has none of its own."""

        def work(connection: apsw.Connection) -> None:
            for each in folds:
                self.fold_inline(connection, each, events, head_before)

        if self._writer is None:
            raise self._not_open()
        await self._writer.submit(Task(work))

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
