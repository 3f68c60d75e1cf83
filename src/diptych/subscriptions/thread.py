"""One thread that does the blocking work of one subscription.

Rule: a thread that hangs is left behind, never waited for; it is a daemon and owns nothing.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")


class WorkThread:
    """Runs functions one after another on a thread of its own, away from the event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Any] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, function: Callable[..., R], *arguments: Any) -> R:
        """Call a function there and return what it returns, or raise what it raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._jobs.put((loop, answer, function, arguments))
        return await answer

    def close(self) -> None:
        """Let the thread end after what it is doing now."""
        self._jobs.put(None)
        self._thread = None


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
