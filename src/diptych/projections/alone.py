"""Events that are tried alone, one at a time in a process: if it ends meanwhile, it is known on which.

Rule: a courtesy with an end. What hangs keeps nobody from his turn for long (P7).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_PATIENCE: Final = 1.0  # seconds; what ends a process is mostly quicker


class Alone:
    """The turn of whoever tries an event alone, of one event loop."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        """`patience`: seconds that one waits for another."""
        self._turn, self._patience = asyncio.Lock(), patience

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for those who try one now, so that what ends them is not laid to ours; but not for ever."""
        has_it = False
        try:
            async with asyncio.timeout(self._patience):
                has_it = await self._turn.acquire()
        except TimeoutError:
            has_it = False
        try:
            yield
        finally:
            if has_it:
                self._turn.release()
