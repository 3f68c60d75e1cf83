"""The news that the log has grown, told to whoever waits for it in this process.

Rule: this is a hint and saves waiting; whoever is woken asks the store what is true.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Final

from diptych.store.protocols import Head

_BUSY_SECONDS: Final = 1.0  # since the log moved: then it is looked at more often


class HeadSignal:
    """Announced from any thread, awaited in any event loop."""

    def __init__(self) -> None:
        self.position = 0
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.AbstractEventLoop, set[asyncio.Future[None]]] = {}

    def announce(self, position: int) -> None:
        """Say that the log reaches to here, and wake everybody."""
        with self._lock:
            self.position = max(self.position, position)
            woken, self._waiting = self._waiting, {}
        for loop, futures in woken.items():
            try:
                loop.call_soon_threadsafe(_wake, futures)
            except RuntimeError:  # the loop is closed: nobody waits there any more
                continue

    async def wait(self, after: int, seconds: float) -> None:
        """Return when a position past `after` is announced, or after so many seconds, or early."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self.position > after:
                return
            self._waiting.setdefault(loop, set()).add(future)
        timer = loop.call_later(seconds, _wake, {future})
        try:
            await future
        finally:
            timer.cancel()
            with self._lock:
                left = self._waiting.get(loop)
                if left is not None:
                    left.discard(future)
                    if not left:
                        del self._waiting[loop]


class HeadWatch:
    """Waits for the log to grow. Commits of this process are known at once, those of others are looked for.

    All who wait share one look: every `busy` seconds, or every `idle` when the log has not moved for a second, and
    whenever `hint` is called.
    """

    def __init__(self, signal: HeadSignal, head: Callable[[], Awaitable[Head]], *, busy: float, idle: float) -> None:
        self._signal, self._head = signal, head
        self._busy, self._idle = busy, max(busy, idle)
        self._looked_at = self._moved_at = 0.0

    def hint(self) -> None:
        """Say that the log may have grown: who waits looks at once."""
        self._looked_at = 0.0
        self._signal.announce(self._signal.position)

    async def wait(self, after: int, seconds: float) -> None:
        """Return when the head is past `after`, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while self._signal.position <= after:
            now = time.monotonic()
            if now >= deadline:
                return
            pause = self._busy if now - self._moved_at < _BUSY_SECONDS else self._idle
            await self._signal.wait(after, min(pause, deadline - now))
            if self._signal.position <= after:
                await self._look(pause)

    async def _look(self, pause: float) -> None:
        now = time.monotonic()
        if now - self._looked_at < pause / 2:
            return
        self._looked_at = now
        position = (await self._head()).position
        if position > self._signal.position:
            self._moved_at = now
            self._signal.announce(position)


def _wake(futures: set["asyncio.Future[None]"]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
