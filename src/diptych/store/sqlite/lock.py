"""The lock file on which writers of several processes queue, so that none waits on the database itself.

Rule: the lock orders writers, it protects nothing: SQLite's own locks stay the truth.
"""

import os
import time
from types import TracebackType

from diptych.errors import StoreUnavailableError
from diptych.store.sqlite.connection import translate

try:
    import fcntl
except ImportError:  # Windows: writers wait in SQLite's busy handler instead
    fcntl = None  # type: ignore[assignment]

_FIRST_PAUSE = 0.00005
_LONGEST_PAUSE = 0.001


class WriterLock:
    """Held while one group is written. Waiting is bounded and polls, for a blocking lock has no timeout."""

    def __init__(self, path: str | None, timeout: float) -> None:
        self._path, self._timeout = path, timeout
        self._descriptor: int | None = None

    def __enter__(self) -> None:
        if self._path is None or fcntl is None:
            return
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            if not self._try():
                self._wait()
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

    def _try(self) -> bool:
        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait(self) -> None:
        deadline, pause = time.monotonic() + self._timeout, _FIRST_PAUSE
        while True:
            time.sleep(pause)
            if self._try():
                return
            if time.monotonic() > deadline:
                raise StoreUnavailableError(
                    f"{self._path} was held by another process for {self._timeout:.1f} s. "
                    "Nothing was stored; try again, or look for a process that hangs."
                )
            pause = min(pause * 2, _LONGEST_PAUSE)
