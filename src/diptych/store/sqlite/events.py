"""The event store on an SQLite file.

Rule: this file only puts the parts together: the writer, the appender, the readers of the log.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar, cast
from uuid import UUID

import apsw

from diptych.clock import Clock, SystemClock, new_id
from diptych.errors import OtherHistoryError, StoreUnavailableError
from diptych.events.recorded import StoredEvent, to_microseconds
from diptych.store.heads import HeadSignal, HeadWatch
from diptych.store.limits import check_append
from diptych.store.protocols import Append, Appended, CommandKey, Head, Page, StoredCommand, StoreSettings
from diptych.store.sqlite import log
from diptych.store.sqlite.appending import Appender, AppendJob
from diptych.store.sqlite.connection import DatabaseFile, open_reader, translate
from diptych.store.sqlite.connections import ConnectionPool, PooledConnection
from diptych.store.sqlite.migrations import migrate
from diptych.store.sqlite.views import SqliteViewStore
from diptych.store.sqlite.writer import Task, Writer
from diptych.stream import StreamName

T = TypeVar("T")

EVENTS_APPLICATION_ID: Final = 0x44505445  # "DPTE"
EVENTS_SCHEMA: Final = 1

_DEFAULT: Final = StoreSettings()
_CONNECTIONS: Final = 8
_IDLE_POLL: Final = 0.05  # seconds between looks for other processes' commits when none came for a second


class SqliteEventStore:
    """The log in an SQLite file, shared by any number of processes on one machine.

    Appends that wait are committed together; `read_stream`, `head` and `wait` read on the caller's thread.
    """

    def __init__(
        self,
        path: str,
        settings: StoreSettings = _DEFAULT,
        *,
        vfs: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.file = DatabaseFile(path, EVENTS_APPLICATION_ID, EVENTS_SCHEMA, vfs)
        self.store_id = UUID(int=0)  # until it is open
        self._settings, self._clock = settings, clock or SystemClock()
        self._signal = HeadSignal()
        self._writer = Writer(self.file, settings, synchronous=settings.synchronous, prepare=self._prepare)
        self.inline = SqliteViewStore(self.file, settings, writer=self._writer)
        self._appender = Appender(self._signal, self._now, settings.command_window_days, rows=self.inline)
        self._pool = ConnectionPool((path,), self._open_reader, size=_CONNECTIONS)
        self._threads = ThreadPoolExecutor(2, "diptych-log")
        self._watch = HeadWatch(self._signal, self.head, busy=settings.poll_seconds, idle=_IDLE_POLL)

    async def open(self) -> None:
        """Create or migrate the file. :raises StoreNewerThanCodeError: and nothing is touched."""
        log.keep_freed_memory()
        await self._writer.open()
        self._signal.announce((await self.head()).position)

    async def close(self) -> None:
        """Finish what was begun and let go of every connection, thread and file."""
        await self.inline.close()
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        self._pool.close()
        await self._writer.close()  # last, for only a writing connection can clear the write-ahead log away
        self._signal.announce(self._signal.position)

    @property
    def connections_in_use(self) -> int:
        """How many reading connections are handed out now."""
        return self._pool.in_use

    async def append(self, append: Append) -> Appended:
        """Store all of it or nothing; when this returns it is on disk. Never cancelled half-way."""
        check_append(append, self._settings.limits)
        return cast(Appended, await self._writer.submit(AppendJob(append, self._appender)))

    async def read_stream(self, stream: StreamName, *, first: int = 1) -> Sequence[StoredEvent]:
        """Return the events of a stream from version `first` on. :raises CorruptedEventError: :raises StoreError:"""
        return await self._read(partial(log.read_stream, stream=stream, first=first))

    async def streams_of(self, id: UUID) -> Sequence[StreamName]:
        """Return all streams with this id."""
        return await self._read(partial(log.read_streams_of, id=id))

    async def read_log(self, *, after: int, types: frozenset[str] | None = None, limit: int = 1000) -> Page:
        """Return up to `limit` events after a position, of these types or of all; at most about 4 MB of payload."""
        return await self._read_beside(partial(log.read_page, after=after, types=types, limit=limit))

    async def read_slices(self, *, after: int, slices: range, limit: int = 1000) -> Page:
        """Return up to `limit` events after a position, of streams in these slices; at most about 4 MB of payload."""
        return await self._read_beside(partial(log.read_slices, after=after, slices=slices, limit=limit))

    async def _read_beside(self, read: Callable[[apsw.Connection], Page]) -> Page:
        """Read on another thread, for it takes long."""
        held = await self._pool.acquire()
        try:
            running = self._threads.submit(self._use, held, read)
        except RuntimeError as error:
            self._pool.release(held)
            raise StoreUnavailableError(f"{self.file.path} is closed. Open the store before reading.") from error
        running.add_done_callback(lambda done: self._pool.release(held) if done.cancelled() else None)
        return await asyncio.wrap_future(running)

    async def find_command(self, key: CommandKey) -> StoredCommand | None:
        """What this command did the first time, from a transaction that writes (C3)."""
        task: Task[StoredCommand | None] = Task(partial(log.read_command, key=key))
        return cast(StoredCommand | None, await self._writer.submit(task))

    async def head(self) -> Head:
        """The end of the log now."""
        return await self._read(log.read_head)

    async def wait(self, after: int, seconds: float) -> None:
        """Return when the head is past `after`, or after `seconds`."""
        await self._watch.wait(after, seconds)

    async def _read(self, read: Callable[[apsw.Connection], T]) -> T:
        return self._use(await self._pool.acquire(), read)

    def _use(self, held: PooledConnection, read: Callable[[apsw.Connection], T]) -> T:
        is_broken = True
        try:
            result = read(held.connection)
            is_broken = False
        except apsw.Error as error:
            raise translate(error, self.file.path, held.connection.system_errno) from error
        except log.UNREADABLE as error:
            raise translate(error, self.file.path) from error
        finally:
            self._pool.release(held, is_broken=is_broken)
        return result

    def _open_reader(self) -> PooledConnection:
        return PooledConnection(open_reader(self.file))

    def _now(self) -> int:
        return to_microseconds(self._clock.now())

    def _prepare(self, connection: apsw.Connection) -> None:
        """Migrate; give a new store its id; and when the file is opened again, see that it is still the same store."""
        migrate(connection, self.file, "events")
        self._appender.forget()
        found = connection.execute("SELECT store_id FROM store").get
        if found is None:
            found = str(new_id())
            connection.execute("INSERT INTO store VALUES (?, ?)", (found, self._now()))
        store_id = UUID(found)
        if self.store_id.int and self.store_id != store_id:
            raise OtherHistoryError(f"The open store {self.store_id}", log.read_head(connection).position)
        self.store_id = store_id
