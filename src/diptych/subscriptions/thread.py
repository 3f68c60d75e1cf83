"""One thread that does the blocking work of one subscription.

Rule: a thread that hangs is left behind, never waited for; it is a daemon and owns nothing.
"""

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from diptych.subscriptions.failures import HANGS

R = TypeVar("R")

_log: Final = logging.getLogger("diptych.projections")
_LATE: Final = 1.0  # seconds; a loop that is later than that was stopped itself, and its thread with it


class HangsError(Exception):
    """What a thread was asked to do takes longer than it may; never reaches a user."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{HANGS} {seconds:g} s")


class WorkThread:
    """Runs functions one after another on a thread of its own, away from the event loop."""

    def __init__(self, name: str, seconds: float) -> None:
        """`seconds`: what takes longer hangs."""
        self._name, self._seconds = name, seconds
        self._jobs: SimpleQueue[Any] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, function: Callable[..., R], *arguments: Any) -> R:
        """Call a function there and return what it returns, or raise what it raises.

        :raises HangsError: it takes too long; its stack is in the log, and the next function gets another thread.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._jobs.put((loop, answer, function, arguments))
        watch = _Watch(loop, answer, self._seconds)
        try:
            return await answer
        except HangsError:
            self._leave_behind()
            raise
        finally:
            watch.timer.cancel()

    def close(self) -> None:
        """Let the thread end after what it is doing now."""
        self._jobs.put(None)
        self._thread = None

    def _leave_behind(self) -> None:
        frame = sys._current_frames().get(self._thread.ident or 0) if self._thread is not None else None
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "it has ended"
        _log.error("%s hangs and is left behind. Its stack:\n%s", self._name, stack)
        self.close()
        self._jobs = SimpleQueue()


class _Watch:
    """Ends a wait that takes too long."""

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Any], seconds: float) -> None:
        self._loop, self._answer, self._seconds = loop, answer, seconds
        self.timer = loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        if self._loop.time() - self.timer.when() > _LATE:  # the whole process stood still
            self.timer = self._loop.call_later(self._seconds, self._ring)
        elif not self._answer.done():
            self._answer.set_exception(HangsError(self._seconds))


def _work(jobs: "SimpleQueue[Any]") -> None:
    while (job := jobs.get()) is not None:
        loop, answer, function, arguments = job
        result, failure = None, None
        try:
            result = function(*arguments)
        except BaseException as error:  # the loop's own business, not the thread's
            failure = error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_deliver, answer, result, failure)
        del job, answer, arguments, result, failure


def _deliver(answer: "asyncio.Future[Any]", result: Any, failure: Exception | None) -> None:
    if answer.done():
        return
    if failure is not None:
        answer.set_exception(failure)
    else:
        answer.set_result(result)
