"""The rows of messages that an inbox has in hand: told where one takes long, noted where one may end the process.

A message that its broker has is no row. It becomes one when it takes long, for `status`; and, after a process ended in
the middle of it, before each further try. The row is gone before the message is acknowledged, or says it is parked.
Rule: a row of a message in hand is WAITING, and its `attempts` are the tries that were noted.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

from diptych.errors import DiptychError
from diptych.store.leases import Held
from diptych.store.tables import Table
from diptych.subscriptions.care import BESIDE, note
from diptych.subscriptions.duty import Desk
from diptych.subscriptions.lane_place import LanePlace
from diptych.subscriptions.shelf import Shelf
from diptych.subscriptions.tasks import WAITING, Task

_CAREFUL: Final = 200  # messages after a death: more than were in hand, which come again first
_LOOK: Final = 0.2  # seconds between two looks at what is in hand
_SLOW: Final = 3_000_000  # microseconds; what is not done for longer is told
_PAUSE: Final = 5_000_000  # between two tellings of one
_FORGOTTEN: Final = 3_600_000_000  # a noted message that does not come again is done with, or lost by its broker


class Notes:
    """Writes the lane of an inbox: one commit at a time, for each asks where the one before left the lane."""

    def __init__(self, desk: Desk, table: Table, held: Held, place: LanePlace, shelf: Shelf) -> None:
        self._desk, self._table, self._lane, self._place, self._shelf = desk, table, held.lane, place, shelf
        self.was_clean = held.is_clean
        self._careful = 0 if held.is_clean else _CAREFUL
        self._turn = asyncio.Lock()
        self._tries: dict[UUID, int] = {}  # the next one, of messages that were noted
        self._rows: dict[UUID, Task] = {}  # those that are on disk
        self._doing: dict[UUID, Task] = {}  # since `changed_at`
        self._told_at: dict[UUID, int] = {}
        self._is_alone = self._is_inside = False

    async def write(self, puts: Iterable[Task] = (), drops: Sequence[UUID] = ()) -> None:
        """Commit rows as they shall be, and the ids of those that shall be gone. :raises CheckpointMovedError:"""
        async with self._turn:
            await self._commit(puts, drops)

    async def _commit(self, puts: Iterable[Task], drops: Sequence[UUID]) -> None:
        turn = self._desk.turn(self._lane, self._table)
        for task in puts:
            turn.put(task, since=task.changed_at if task.state == WAITING else 0)
        for id in drops:
            turn.drop(id)
        in_hand = {task.id: task for task in turn.tasks.values() if task.state == WAITING}
        self._rows |= in_hand  # before it is sure: one that is over meanwhile takes its row away
        await self._place.commit(turn)
        for id in (turn.tasks.keys() | turn.dropped) - in_hand.keys():
            self._rows.pop(id, None)

    async def begin(self) -> None:
        """Learn what was noted; what was only told is told again if it is still so."""
        found = await self._shelf.unfinished()
        self._rows = {task.id: task for task in found}
        self._tries = {task.id: task.attempts + (not self.was_clean) for task in found if task.attempts}
        if told := [task.id for task in found if not task.attempts]:
            await self.write(drops=told)

    # --- with care ---------------------------------------------------------------------------------------------------

    @property
    def is_careful(self) -> bool:
        """Whether messages are to be looked at before they are taken."""
        return self._careful > 0 or bool(self._tries)

    def tries(self, message: Task) -> int:
        """Return which try of a message would be the next."""
        return self._tries.get(message.id, BESIDE if self._careful > 0 else 0)

    async def note(self, messages: Sequence[Task]) -> None:
        """Write down that these are tried, those that have to be."""
        noted = [(task, tries) for task in messages if (tries := self.tries(task))]
        self._careful -= len(messages)
        now = self._desk.now()
        if noted:
            await self.write(
                [task._replace(attempts=tries, error=note(tries), changed_at=now) for task, tries in noted]
            )

    @asynccontextmanager
    async def alone(self, message: Task) -> AsyncIterator[None]:
        """Let nothing else that a duty does be begun, and note a try."""
        await self._desk.ward.enter(alone=True)
        self._is_alone = self._is_inside = True
        try:
            await self.note([message])
            yield
        finally:
            self._is_alone = False
            self._leave()

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Try something while nothing is tried alone, but by itself."""
        if self._is_alone:
            yield
            return
        await self._desk.ward.enter(alone=False)
        try:
            yield
        finally:
            self._desk.ward.leave(alone=False)

    async def sleep(self, seconds: float) -> None:
        """Wait for the next try of one message; others go on meanwhile."""
        is_alone = self._is_alone
        self._leave()
        await asyncio.sleep(seconds)
        if is_alone:
            await self._desk.ward.enter(alone=True)
            self._is_inside = True

    def _leave(self) -> None:
        if self._is_inside:
            self._is_inside = False
            self._desk.ward.leave(alone=True)

    # --- for status --------------------------------------------------------------------------------------------------

    def begins(self, message: Task) -> None:
        """Have a message in hand."""
        known = self._rows.get(message.id, message)
        self._doing[message.id] = known._replace(state=WAITING, changed_at=self._desk.now())

    def fails(self, message: Task, error: str) -> None:
        """Learn why it is not done yet."""
        if message.id in self._doing:
            self._doing[message.id] = self._doing[message.id]._replace(error=error)

    async def over(self, message: Task) -> None:
        """Have it that it is done. Its row is gone, if there is one: now it may be acknowledged."""
        self.ends(message)
        if message.id in self._rows:
            await self.write(drops=[message.id])

    def ends(self, message: Task) -> None:
        """Have it in hand no more."""
        self._doing.pop(message.id, None)
        self._told_at.pop(message.id, None)
        self._tries.pop(message.id, None)

    async def tell(self) -> None:
        """Write down what is in hand for long, and why, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK)
            with suppress(DiptychError):  # the store is away, and told by itself; or another has the lane
                async with self._turn:
                    await self._tell(self._desk.now())

    async def _tell(self, now: int) -> None:
        slow = [task for task in self._doing.values() if self._is_to_tell(task, now)]
        old = [id for id, row in self._rows.items() if id not in self._doing and row.changed_at < now - _FORGOTTEN]
        if slow or old:
            self._told_at |= {task.id: now for task in slow}
            await self._commit(slow, old)

    def _is_to_tell(self, task: Task, now: int) -> bool:
        row = self._rows.get(task.id)
        is_news = row is None or (row.error, row.changed_at) != (task.error, task.changed_at)
        return is_news and task.changed_at < now - _SLOW and self._told_at.get(task.id, 0) < now - _PAUSE
