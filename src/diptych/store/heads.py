"""The news that the log has grown, told to whoever waits for it in this process.

Rule: this is a hint and saves waiting; whoever is woken asks the store what is true.
"""

import asyncio
import threading


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


def _wake(futures: set["asyncio.Future[None]"]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
