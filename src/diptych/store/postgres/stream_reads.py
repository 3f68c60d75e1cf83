"""Streams that are asked for while another is being read: those of one turn of the event loop in one round trip.

Where many commands run at once, sending a statement and waking for its answer costs more than reading ten events.
Rule: who asks alone is answered by a statement of its own, at once; nobody waits for others to ask.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple

from diptych.events.recorded import StoredEvent
from diptych.store.grouping import copy_of, settle
from diptych.store.postgres.connection import Connection
from diptych.store.postgres.log import Log, Wanted

_MOST: Final = 8  # streams in one answer: while one is folded here, the server makes the next


class _Asked(NamedTuple):
    wanted: Wanted
    answer: "asyncio.Future[Sequence[StoredEvent]]"


class StreamReads:
    """Reads streams for one event loop, on connections that it borrows."""

    def __init__(self, log: Log, borrow: Callable[[], AbstractAsyncContextManager[Connection]]) -> None:
        self._log, self._borrow = log, borrow
        self._asked: list[_Asked] = []
        self._running: set[asyncio.Task[None]] = set()
        self._alone = 0

    async def read(self, wanted: Wanted) -> Sequence[StoredEvent]:
        """Return the events of a stream. :raises CorruptedEventError: :raises StoreError:"""
        if self._alone or self._running:
            return await self._together(wanted)
        self._alone += 1
        try:
            async with self._borrow() as connection:
                return await self._log.stream(connection, *wanted)
        finally:
            self._alone -= 1

    async def _together(self, wanted: Wanted) -> Sequence[StoredEvent]:
        loop = asyncio.get_running_loop()
        asked = _Asked(wanted, loop.create_future())
        if not self._asked:
            loop.call_soon(self._begin)
        self._asked.append(asked)
        return await asked.answer

    def _begin(self) -> None:
        asked, self._asked = self._asked, []
        for start in range(0, len(asked), _MOST):
            task = asyncio.get_running_loop().create_task(self._answer(asked[start : start + _MOST]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, asked: Sequence[_Asked]) -> None:
        found: Sequence[Sequence[StoredEvent] | Exception]
        try:
            async with self._borrow() as connection:
                found = await self._log.several(connection, [each.wanted for each in asked])
        except Exception as error:
            found = [copy_of(error) for _ in asked]
        settle(zip([each.answer for each in asked], found, strict=True))
