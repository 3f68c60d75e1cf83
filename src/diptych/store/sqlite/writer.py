"""The one thread of a process that writes to a file: jobs that wait go together in one transaction.

Rule: no outcome is delivered before COMMIT has returned, and a job that is refused takes no other with it.
"""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import suppress
from itertools import compress
from operator import not_
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import apsw

from diptych.errors import StoreError, StoreFullError, StoreUnavailableError, UnknownOutcomeError
from diptych.store.grouping import Claims, copy_of, fit_together, settle
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.connection import DatabaseFile, open_writer, translate
from diptych.store.sqlite.lock import WriterLock

T = TypeVar("T")

_GROUP = 512  # jobs in one transaction
_CHECKPOINT_PAGES = 1000
_LOOK_AGAIN = 0.1  # seconds between looks whether the file is still there
_SURELY_NOT_STORED = (apsw.FullError, apsw.BusyError, apsw.ReadOnlyError, apsw.ConstraintError)


class Runner(Protocol):
    """Runs those jobs of a group that are its own, inside the transaction, on the writer's thread."""

    def run(self, connection: apsw.Connection, jobs: Sequence[Any]) -> Sequence[Any]:
        """Return one outcome per job, in order; an exception among them refuses its job alone.

        What it raises refuses the whole group and rolls it back.
        """
        ...

    def committed(self) -> None:
        """Called after COMMIT, before anybody learns an outcome."""
        ...


class Job(Claims, Protocol):
    """Something to write."""

    @property
    def runner(self) -> Runner:
        """Who runs it."""
        ...


class _OneByOne:
    """Runs tasks in savepoints, so that one may fail after it has written."""

    def run(self, connection: apsw.Connection, jobs: Sequence["Task[Any]"]) -> Sequence[Any]:
        return [run_in_savepoint(connection, job.function) for job in jobs]

    def committed(self) -> None:
        pass


class Task(Generic[T]):
    """A job that is one function. What it returns is its outcome; what it raises undoes it alone."""

    __slots__ = ("conflicts", "function")
    guards: Collection[Hashable] = ()
    runner: Runner = _OneByOne()

    def __init__(self, function: Callable[[apsw.Connection], T], conflicts: Collection[Hashable] = ()) -> None:
        self.function, self.conflicts = function, conflicts


def run_in_savepoint(connection: apsw.Connection, function: Callable[[apsw.Connection], T]) -> T | Exception:
    """Return what the function returns, or the error it raised after undoing what it wrote.

    An error after which SQLite has given up the whole transaction (a full disk) is raised.
    """
    connection.execute("SAVEPOINT job")
    try:
        outcome: T | Exception = function(connection)
    except Exception as error:
        if not connection.in_transaction or isinstance(error, StoreFullError | apsw.FullError | apsw.IOError):
            raise
        connection.execute("ROLLBACK TO job")
        outcome = error
    connection.execute("RELEASE job")
    return outcome


class _Waiting(NamedTuple):
    job: Job
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"


class Writer:
    """Takes jobs from any event loop and writes them in groups. After an error the next job simply tries again."""

    def __init__(
        self,
        file: DatabaseFile,
        settings: StoreSettings,
        *,
        synchronous: str = "full",
        prepare: Callable[[apsw.Connection], None] | None = None,
    ) -> None:
        """`prepare` is called on every connection before it is used, with the lock held: migrations, checks."""
        self.file = file
        self._settings, self._synchronous, self._prepare = settings, synchronous, prepare
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._held_back: deque[_Waiting] = deque()
        self._lock = WriterLock(file.lock_path, settings.lock_timeout)
        self._connection: apsw.Connection | None = None
        self._inode, self._look_again = 0, 0.0
        self._checkpoints = _Checkpoints(settings)
        self._is_closed, self._closing = False, threading.Lock()
        self._thread = threading.Thread(target=self._work, name=f"writer {file.path}", daemon=True)

    async def open(self) -> None:
        """Start the thread, and open, check and prepare the file."""
        self._thread.start()
        try:
            await self.submit(Task(lambda connection: None))
        except BaseException:
            await self.close()
            raise

    async def submit(self, job: Job) -> Any:
        """Write it, with whatever else waits, and return its outcome once it is on disk.

        The caller may be cancelled; the job is not. :raises UnknownOutcomeError: COMMIT was not confirmed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._closing:
            if self._is_closed:
                raise StoreUnavailableError(f"{self.file.path} is closed. Nothing was stored; open the store again.")
            self._queue.put(_Waiting(job, loop, future))
        return await future

    async def close(self) -> None:
        """Write what waits, then let go of the thread, the connection and the lock file."""
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._queue.put(None)
        if self._thread.ident is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _work(self) -> None:
        is_open = True
        while is_open or self._held_back:
            group, is_open = self._gather(is_open)
            if group:
                _deliver(group, self._write(group))
                group = []  # or this frame would keep the jobs until the next
                self._checkpoint()
        self._drop_connection()
        self._lock.close()

    def _gather(self, is_open: bool) -> tuple[list[_Waiting], bool]:
        waiting, self._held_back = self._held_back, deque()
        if not waiting:
            first = self._queue.get()
            if first is None:
                return [], False
            waiting.append(first)
        for _ in range(min(self._queue.qsize(), _GROUP - len(waiting))):
            following = self._queue.get()
            if following is None:
                is_open = False
            else:
                waiting.append(following)
        if len(waiting) == 1:
            return list(waiting), is_open
        fitting = fit_together([each.job for each in waiting])
        group = list(compress(waiting, fitting))
        self._held_back = deque(compress(waiting, map(not_, fitting)))
        return group, is_open

    def _write(self, group: Sequence[_Waiting]) -> Sequence[Any]:
        try:
            with self._lock:
                return self._write_locked(group)
        except Exception as error:
            failure = self._give_up(error)
            return [copy_of(failure) for _ in group]

    def _write_locked(self, group: Sequence[_Waiting]) -> Sequence[Any]:
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        by_runner: dict[Runner, list[int]] = {}
        for place, waiting in enumerate(group):
            by_runner.setdefault(waiting.job.runner, []).append(place)
        outcomes: list[Any] = [None] * len(group)
        for runner, places in by_runner.items():
            for place, outcome in zip(places, runner.run(connection, [group[i].job for i in places]), strict=True):
                outcomes[place] = outcome
        try:
            connection.execute("COMMIT")
        except apsw.Error as error:
            if isinstance(error, _SURELY_NOT_STORED) or getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_WRITE:
                raise
            raise UnknownOutcomeError(str(error)) from error
        for runner in by_runner:
            runner.committed()
        return [translate(each, self.file.path) if isinstance(each, apsw.Error) else each for each in outcomes]

    def _connected(self) -> apsw.Connection:
        if self._connection is not None and not self._is_same_file():
            self._drop_connection()
        if self._connection is None:
            connection = open_writer(self.file, synchronous=self._synchronous, lock_timeout=self._settings.lock_timeout)
            try:
                if self._prepare is not None:
                    self._prepare(connection)
            except BaseException:
                connection.close(True)
                raise
            self._checkpoints.watch(connection)
            self._connection = connection
            self._inode = os.stat(self.file.path).st_ino if self.file.is_on_disk else 0
        return self._connection

    def _is_same_file(self) -> bool:
        """Whether the path still leads to the open file: writing to a deleted one would lose what it acknowledges."""
        now = time.monotonic()
        if not self.file.is_on_disk or now < self._look_again:
            return True
        self._look_again = now + _LOOK_AGAIN
        try:
            return os.stat(self.file.path).st_ino == self._inode
        except FileNotFoundError as error:
            raise StoreUnavailableError(
                f"{self.file.path} was deleted or moved while open. Nothing was stored; put it back, or start again."
            ) from error

    def _give_up(self, error: Exception) -> Exception:
        """Roll back and say what to tell everybody in the group."""
        connection, system_errno = self._connection, 0
        if connection is not None:
            system_errno = connection.system_errno if isinstance(error, apsw.IOError) else 0
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            except apsw.Error:
                self._drop_connection()
        if isinstance(error, apsw.Error | OSError | ValueError):
            translated = translate(error, self.file.path, system_errno)
            translated.__cause__ = error
            error = translated
        if isinstance(error, StoreError | UnknownOutcomeError) and not isinstance(error, StoreFullError):
            self._drop_connection()
        return error

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except apsw.Error:
                connection.close(True)

    def _checkpoint(self) -> None:
        if self._connection is not None:
            try:
                self._checkpoints.run(self._connection)
            except apsw.Error:
                self._drop_connection()  # the next job opens it again and meets the cause, if it is still there


class _Checkpoints:
    """Moves the write-ahead log into the database after outcomes are delivered, so that nobody waits for it."""

    def __init__(self, settings: StoreSettings) -> None:
        self._limit, self._lock_timeout = settings.wal_limit, settings.lock_timeout
        self._pages, self._next = 0, _CHECKPOINT_PAGES
        self._page_size = 4096

    def watch(self, connection: apsw.Connection) -> None:
        self._page_size = connection.pragma("page_size")
        connection.set_wal_hook(self._grew)

    def _grew(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._pages = pages
        return 0

    def run(self, connection: apsw.Connection) -> None:
        if self._pages < self._next and self._pages * self._page_size <= self._limit:
            return
        if self._pages * self._page_size > self._limit:
            self._truncate(connection)
        log, moved = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self._next = _CHECKPOINT_PAGES if moved >= log else log + _CHECKPOINT_PAGES
        self._pages = 0

    def _truncate(self, connection: apsw.Connection) -> None:
        """Empty the file, if no reader needs it for a moment; else the next group tries again."""
        connection.set_busy_timeout(50)
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            pass
        finally:
            connection.set_busy_timeout(int(self._lock_timeout * 1000))


def _deliver(group: Sequence[_Waiting], outcomes: Sequence[Any]) -> None:
    """Wake every loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for waiting, outcome in zip(group, outcomes, strict=True):
        by_loop.setdefault(waiting.loop, []).append((waiting.future, outcome))
    for loop, settled in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(settle, settled)
