"""The lock file on which writers of several processes queue, so that none waits on the database itself.

Rule: the lock orders writers, it protects nothing: SQLite's own locks stay the truth.
"""

import os
import time
from collections.abc import Callable
from types import TracebackType

from diptych.errors import StoreUnavailableError
from diptych.store.sqlite.connection import translate

try:
    import fcntl
except ImportError:  # Windows: writers wait in SQLite's busy handler instead
    fcntl = None  # type: ignore[assignment]

_FIRST_PAUSE = 0.00005
_LONGEST_PAUSE = 0.0005


class WriterLock:
    """Held while one group is written. Waiting is bounded and polls, for a blocking lock has no timeout.

    It is two locks on one file: the turn, and the right to write. Who waits for the right holds the turn, so that a
    process that writes group after group comes after it: without, others got through once in seconds.
    """

    def __init__(self, path: str | None, timeout: float) -> None:
        self._path, self._timeout = path, timeout
        self._descriptor: int | None = None

    def __enter__(self) -> None:
        if self._path is None or fcntl is None:
            return
        deadline = time.monotonic() + self._timeout
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            self._take(fcntl.lockf, deadline)
            try:
                self._take(fcntl.flock, deadline)
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        except OSError as error:
            raise translate(error, self._path) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file; the next use opens it again. The file itself stays: others may be waiting on it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self, lock: Callable[[int, int], None], deadline: float) -> None:
        assert self._descriptor is not None
        pause = _FIRST_PAUSE
        while True:
            try:
                lock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreUnavailableError(
                        f"{self._path} was held by another process for {self._timeout:.1f} s. "
                        "Nothing was stored; try again, or look for a process that hangs."
                    ) from None
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
