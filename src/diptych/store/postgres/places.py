"""So many places, given out in turn; who has waited too long for one is told.

Rule: one timer watches all who wait. A timer for each costs more than a short statement.
"""

import asyncio
from collections import deque


class Places:
    """Belongs to one event loop. Every `take` that returned is followed by one `give_back`."""

    def __init__(self, size: int, patience: float) -> None:
        """`patience`: seconds after which who waits for a place gets a TimeoutError."""
        self._free, self._patience = size, patience
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()  # the longest first
        self._timer: asyncio.TimerHandle | None = None

    async def take(self) -> None:
        """Return with a place. :raises TimeoutError: none was given back in time."""
        if self._free:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append((loop.time() + self._patience, turn))
        if self._timer is None:
            self._timer = loop.call_later(self._patience, self._look)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back()  # it was given a place while it was cancelled
            raise

    def give_back(self) -> None:
        """Let the next one have the place."""
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _look(self) -> None:
        """Tell those whose time is over, and look again when it is for the next."""
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= loop.time()):
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(TimeoutError())
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0][0], self._look)
