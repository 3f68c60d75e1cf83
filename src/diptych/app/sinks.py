"""Delivers alerts to whoever was registered for them: each in order, and none in the way of another.

Rule: delivery may be given up; the record is kept by the store, and what was given up is logged.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from diptych.store.alerts import AlertChange
from diptych.subscriptions.failures import Backoff

AlertHandler = Callable[[AlertChange], Awaitable[Any]]

_log: Final = logging.getLogger("diptych.alerts")
_MOST: Final = 100  # changes that wait for one handler


class Patience(NamedTuple):
    """How long a handler is given; times in seconds."""

    attempts: int = 4
    attempt: float = 10.0
    first_pause: float = 0.5
    longest_pause: float = 8.0
    farewell: float = 1.0  # for what still waits when the app stops


class Sinks:
    """The handlers of one app, each with a queue and a task of its own."""

    def __init__(self, handlers: Iterable[AlertHandler], patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._queues = [(handler, asyncio.Queue[AlertChange](_MOST)) for handler in handlers]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to deliver what is sent."""
        self._tasks = [
            asyncio.create_task(self._deliver(handler, queue), name=f"diptych-alerts-{named(handler)}")
            for handler, queue in self._queues
        ]

    def send(self, changes: Sequence[AlertChange]) -> None:
        """Log them, and hand them to every handler without waiting for any."""
        for change in changes:
            level = logging.INFO if change.change == "resolved" else logging.WARNING
            _log.log(level, "Alert %d is %s: %s", change.alert.id, change.change, change.alert.message)
            for handler, queue in self._queues:
                if queue.full():
                    _gave_up(queue.get_nowait(), handler, f"{_MOST} newer ones wait for it")
                    queue.task_done()
                queue.put_nowait(change)

    async def stop(self) -> None:
        """Give what still waits a last moment, and stop."""
        if self._tasks:
            emptied = [asyncio.create_task(queue.join()) for _, queue in self._queues]
            _, late = await asyncio.wait(emptied, timeout=self._patience.farewell)
            for task in (*late, *self._tasks):
                task.cancel()
            await asyncio.wait((*late, *self._tasks), timeout=self._patience.farewell)
        self._tasks = []

    async def _deliver(self, handler: AlertHandler, queue: "asyncio.Queue[AlertChange]") -> None:
        while True:
            change = await queue.get()
            await self._try(handler, change)
            queue.task_done()

    async def _try(self, handler: AlertHandler, change: AlertChange) -> None:
        patience = self._patience
        backoff = Backoff(patience.first_pause, patience.longest_pause)
        for attempt in range(1, patience.attempts + 1):
            try:
                async with asyncio.timeout(patience.attempt):
                    await handler(change)
                return
            except TimeoutError as error:
                why = str(error) or f"it takes longer than {patience.attempt:g} s"
            except Exception as error:  # a stranger's code
                why = str(error) or type(error).__name__
            if attempt < patience.attempts:
                _log.info("%s did not take alert %d, and is tried again: %s", named(handler), change.alert.id, why)
                await asyncio.sleep(backoff.next())
        _gave_up(change, handler, f"{why}, {patience.attempts} times")


def named(handler: AlertHandler) -> str:
    """Return what a handler is called in the log."""
    return getattr(handler, "__qualname__", None) or str(handler)


def _gave_up(change: AlertChange, handler: AlertHandler, why: str) -> None:
    _log.error(
        "Alert %d (%s) was not delivered to %s: %s. It is kept: diptych projection show %s",
        change.alert.id,
        change.change,
        named(handler),
        why,
        change.alert.projection,
    )
