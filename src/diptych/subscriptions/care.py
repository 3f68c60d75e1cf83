"""What a lane owed when its process ended is taken with care: each try is noted before it is made, the last one alone.

So what ends the process is found, and put aside at the third time; what was merely under way beside it is not.
Rule: the note is what the row of the task says is wrong with it: any outcome wipes it; without a death there is none.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

from diptych.store.batches import RowChanges, RowGuard, ViewBatch
from diptych.store.protocols import Append, EventStore
from diptych.store.tables import Table
from diptych.subscriptions.failures import is_passing
from diptych.subscriptions.tasks import EVENT, WAITING, Task

BESIDE: Final = 1
ALONE: Final = 2
PATIENCE: Final = 30.0  # seconds
_NOTES: Final = (
    "",
    "a process ended that may have been at it, so this try is noted",
    "the process ended while it was tried, so it is tried alone",
)


class EndedError(Exception):
    """What a task that ends each process looks like to its duty: it is put aside, and not tried again unasked."""

    def __init__(self) -> None:
        super().__init__("the process ended each time it was tried, at last alone. Mend it, or skip it")


def note(tries: int) -> str:
    """Return what is written down before a try. :raises EndedError: nobody should try any more."""
    if tries > ALONE:
        raise EndedError
    return _NOTES[tries]


def tries_of(error: str) -> int:
    """Return which try was noted last; 0 if none was."""
    return _NOTES.index(error) if error in _NOTES else 0


class Ward:
    """All that a process performs of its duties: many tasks at once, or one alone, which goes first.

    Nobody waits for another for longer than some seconds: what takes that long may hang, and has not ended anything.
    """

    def __init__(self) -> None:
        self._inside = self._alone = self._wanted = 0
        self._until = 0.0  # so long others wait for one that is alone, or wants to be
        self._changed = asyncio.Event()

    async def enter(self, *, alone: bool) -> None:
        """Return when it may be begun."""
        now = asyncio.get_running_loop().time()
        if alone and not self._wanted and not self._alone:
            self._until = now + PATIENCE
        self._wanted += alone
        try:
            while (self._inside if alone else self._alone or self._wanted) and now < self._until:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._until):
                        await self._changed.wait()
                now = asyncio.get_running_loop().time()
        finally:
            self._wanted -= alone
            self._tell()
        self._inside += 1
        if alone:
            self._alone += 1
            self._until = now + PATIENCE

    def leave(self, *, alone: bool) -> None:
        """Let the next one in."""
        self._inside -= 1
        self._alone -= alone
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Care:
    """The tasks of one lane that may have ended a process."""

    def __init__(self, store: EventStore, duty: str, table: Table, generation: int, ward: Ward) -> None:
        self._store, self._duty, self._table, self._generation, self._ward = store, duty, table, generation, ward
        self._tries: dict[UUID, int] = {}
        self._inside: dict[UUID, bool] = {}  # whether it is alone
        self._noted: set[UUID] = set()
        self.is_wary = False
        """Whether the events that come next are to be tasks, each for itself: who read them may have ended by one."""

    def begin(self, unfinished: Iterable[Task], now: int, *, is_clean: bool) -> list[Task]:
        """Look what a lane that was claimed owes; return it in the order in which it is to be begun.

        Only the first of a key was begun, and only what was due. A try that was noted, and broken off by a process that
        let go of the lane (`is_clean`), has ended nothing.
        """
        self.is_wary = not is_clean
        seen = set[str]()
        ordered = list(unfinished)
        for task in ordered:
            tries = tries_of(task.error)
            if task.key not in seen and task.state == WAITING and (tries or (not is_clean and task.due_at <= now)):
                self._tries[task.id] = tries if is_clean else tries + 1
            seen.add(task.key)
        return sorted(ordered, key=lambda one: self._tries.get(one.id, 0) < ALONE)

    def owes(self, tasks: Iterable[Task]) -> None:
        """Learn what the first events are owed as that were read again."""
        if self.is_wary:
            self.is_wary = False
            self._tries |= {task.id: BESIDE for task in tasks if task.kind == EVENT and task.state == WAITING}

    @property
    def is_narrow(self) -> bool:
        """Whether something is to be tried alone."""
        return any(tries >= ALONE for tries in self._tries.values())

    @asynccontextmanager
    async def tried(self, task: Task) -> AsyncIterator[None]:
        """Perform a task. A try of one that is taken with care is noted, and is over when how it ended is on disk.

        :raises EndedError: it is not to be made. :raises RowChangedError: it is not owed any more.
        """
        tries = self._tries.get(task.id, 0)
        text = note(tries)
        if task.id not in self._inside:
            await self._ward.enter(alone=tries == ALONE)
            self._inside[task.id] = tries == ALONE
        try:
            if tries and task.id not in self._noted:
                await self._store.append(Append([], beside=self.beside(task._replace(error=text))))
                self._noted.add(task.id)
            yield
        except BaseException as error:
            if not isinstance(error, Exception) or is_passing(error):  # it is tried anew, if at all
                self._leave(task.id)
            raise
        finally:
            if not tries:
                self._leave(task.id)

    def beside(self, task: Task) -> ViewBatch:
        """Return what writes a task in the transaction of an append, which is refused if it does not wait any more."""
        changes, guards = [RowChanges(self._table, [task])], [RowGuard(self._table, (task.id,), "state", WAITING)]
        return ViewBatch(self._duty, self._generation, [], 0, changes=changes, guards=guards)

    def over(self, task: UUID) -> None:
        """Have it that how a try ended is on disk, or that nobody asks."""
        self._tries.pop(task, None)
        self._noted.discard(task)
        self._leave(task)

    def drop(self) -> None:
        """Let others of this process be tried: this lane is let go."""
        for task in list(self._inside):
            self._leave(task)

    def _leave(self, task: UUID) -> None:
        if task in self._inside:
            self._ward.leave(alone=self._inside.pop(task))
