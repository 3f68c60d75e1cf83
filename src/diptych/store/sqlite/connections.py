"""A bounded pool of reading connections, shared by event loops and threads.

Rule: a connection that is handed out comes back, whatever becomes of the one who asked.
"""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

import apsw

from diptych.errors import StoreUnavailableError
from diptych.store.sqlite.guard import ReadGuard

WAIT_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.1  # how often the paths are looked at for other files


class PooledConnection:
    """A connection, and what its pool remembers of it. Its statements are stopped after `deadline` (monotonic)."""

    __slots__ = ("connection", "deadline", "guard", "inodes")

    def __init__(self, connection: apsw.Connection, guard: ReadGuard | None = None) -> None:
        self.connection, self.guard = connection, guard
        self.inodes: tuple[int, ...] = ()
        self.deadline = inf
        connection.set_progress_handler(self._is_late, 20_000)

    def _is_late(self) -> bool:
        return time.monotonic() > self.deadline


_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[PooledConnection | None]"]


class ConnectionPool:
    """Opens connections when they are first needed, and again when a file behind them was replaced."""

    def __init__(self, paths: tuple[str, ...], open_one: Callable[[], PooledConnection], *, size: int) -> None:
        self._paths, self._open, self._size = paths, open_one, size
        self._idle: list[PooledConnection] = []
        self._waiters: deque[_Waiter] = deque()
        self._lock = threading.Lock()
        self._count = 0
        self._seen, self._seen_at = self.inodes(), 0.0
        self._is_closed = False

    @property
    def in_use(self) -> int:
        """How many connections are handed out now."""
        with self._lock:
            return self._count - len(self._idle)

    async def acquire(self) -> PooledConnection:
        """Return a free connection, at once if there is one. :raises StoreUnavailableError: none for 5 seconds."""
        found = self.try_acquire()
        if found is not None:
            return found
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while found is None:
                    found = await self._wait() or self.try_acquire()
                return found
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"{self._paths[0]}: all {self._size} reading connections were in use for {WAIT_SECONDS:.0f} s. "
                "Try again; query handlers must not wait for other work while they read."
            ) from error

    async def _wait(self) -> PooledConnection | None:
        """Return a connection that came back, or None when it is time to look for oneself."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[PooledConnection | None] = loop.create_future()
        with self._lock:
            self._waiters.append((loop, future))
        self._serve()
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and (held := future.result()) is not None:
                self.release(held)
            raise

    def try_acquire(self) -> PooledConnection | None:
        """Return a connection without waiting, or None when all are in use."""
        with self._lock:
            if self._is_closed:
                raise StoreUnavailableError(f"{self._paths[0]} is closed. Open the store before reading.")
            if self._idle:
                found = self._idle.pop()
            elif self._count < self._size:
                self._count += 1
                found = None
            else:
                return None
        if found is not None and found.inodes == self._current():
            return found
        try:
            if found is not None:
                found.connection.close(True)
            found = self._open()
            found.inodes = self._seen = self.inodes()
            return found
        except BaseException:
            with self._lock:
                self._count -= 1
            raise

    def _current(self) -> tuple[int, ...]:
        now = time.monotonic()
        if now - self._seen_at > _LOOK_SECONDS:
            self._seen, self._seen_at = self.inodes(), now
        return self._seen

    def inodes(self) -> tuple[int, ...]:
        """Return which files are at the paths now."""
        try:
            return tuple([os.stat(path).st_ino for path in self._paths])
        except FileNotFoundError:
            return ()

    def release(self, connection: PooledConnection, *, is_broken: bool = False) -> None:
        """Take a connection back, from any thread, and give it to who waited longest; a broken one is closed."""
        connection.deadline = inf
        with self._lock:
            is_kept = not (self._is_closed or is_broken)
            if is_kept:
                self._idle.append(connection)
            else:
                self._count -= 1
        if not is_kept:
            connection.connection.close(True)
        if self._waiters:
            self._serve()

    def _serve(self) -> None:
        """Give what is idle to who waits. One that may be opened instead, or a closed pool, they find by themselves."""
        while True:
            with self._lock:
                may_look = self._is_closed or self._count < self._size
                if not self._waiters or not (self._idle or may_look):
                    return
                loop, future = self._waiters.popleft()
                connection = self._idle.pop() if self._idle else None
            try:
                loop.call_soon_threadsafe(self._hand, future, connection)
            except RuntimeError:  # that loop is closed
                if connection is not None:
                    self.release(connection)

    def _hand(self, future: "asyncio.Future[PooledConnection | None]", connection: PooledConnection | None) -> None:
        if not future.done():
            future.set_result(connection)
        elif connection is not None:
            self.release(connection)
        else:
            self._serve()

    def close(self) -> None:
        """Close what is idle now, and the rest when it comes back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self._count -= len(idle)
        for each in idle:
            each.connection.close(True)
        self._serve()
