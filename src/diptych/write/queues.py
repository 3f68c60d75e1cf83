"""Commands of one process wait for each other at an aggregate, or a command id, instead of conflicting in the store.

Rule: a command waits for one aggregate only, the first it loads; queues for several could deadlock.
"""

import asyncio
from collections import deque
from collections.abc import Hashable


class Queues:
    """One queue per thing in use, first come first served; a cancelled waiter leaves it."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[asyncio.Future[None]] | None] = {}

    async def enter(self, key: Hashable) -> None:
        """Return when it is our turn."""
        if key not in self._waiting:
            self._waiting[key] = None
            return
        turn = asyncio.get_running_loop().create_future()
        queue = self._waiting[key]
        if queue is None:
            queue = self._waiting[key] = deque()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.leave(key)
            elif turn in queue:  # else it was passed over in the same moment
                queue.remove(turn)
            raise

    def leave(self, key: Hashable) -> None:
        """Let the next one in."""
        queue = self._waiting[key]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[key]
