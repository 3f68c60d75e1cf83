"""The timers of a lane: which are due, and whether enough of the log is read for them to act.

Rule: a timer acts only when everything was taken in that the log says was there at its time (S2).
"""

from collections.abc import Sequence
from typing import Final

from diptych.store.protocols import Append, EventStore
from diptych.subscriptions.shelf import Shelf
from diptych.subscriptions.tasks import Task

_AT_ONCE: Final = 200


class Timers:
    """Knows when the next timer of a lane is due. Times are microseconds since 1970."""

    def __init__(self, store: EventStore, shelf: Shelf) -> None:
        self._store, self._shelf = store, shelf
        self.next_due: int | None = None
        self._fence: tuple[int, int] | None = None  # how far the log has to be read before those due at a time act

    async def begin(self) -> None:
        """Look when the next one is due."""
        self.next_due = await self._shelf.next_due()

    def add(self, task: Task) -> None:
        """Learn of a timer that was set."""
        self.next_due = task.due_at if self.next_due is None else min(self.next_due, task.due_at)

    def look_again(self, now: int) -> None:
        """Ask for the next one anew: one that waited for an event of its key may be it."""
        self.next_due = now

    def are_due(self, now: int) -> bool:
        """Whether one of them is."""
        return self.next_due is not None and self.next_due <= now

    async def take(self, now: int, position: int) -> Sequence[Task]:
        """Return those that act now, the log being read up to a position."""
        if not self.are_due(now):
            return ()
        if self._fence is None:  # an append waits for those before it, whose events have their time and no commit yet
            self._fence = (await self._store.append(Append([]))).position, now
        fence, at = self._fence
        if position < fence:
            return ()
        self._fence = None
        due = await self._shelf.due(at, _AT_ONCE)
        self.next_due = now if due else await self._shelf.next_due()
        return due
