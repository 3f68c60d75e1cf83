"""What one turn of a lane writes, collected: all of it commits together, or nothing.

Rule: no I/O; the last word on a row counts.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

from diptych.events.recorded import NewEvent, RecordedEvent
from diptych.store.batches import Answer, RowChanges, RowGuard
from diptych.store.protocols import StreamWrite
from diptych.store.tables import Table
from diptych.stream import ANY, StreamName
from diptych.subscriptions.tasks import PARKED, WAITING, Task, as_text


class Turn:
    """`now` is the clock's, in microseconds since 1970; `is_real` whether that is the clock events are recorded by."""

    def __init__(self, lane: int, now: int, tasks: Table, *, is_real: bool) -> None:
        self.lane, self.now, self._is_real = lane, now, is_real
        self._table = tasks
        self.tasks: dict[UUID, Task] = {}
        self.dropped: set[UUID] = set()
        self._events: dict[StreamName, list[NewEvent]] = {}
        self._rows: dict[Table, dict[Any, Any]] = {}
        self._failed: list[RowGuard] = []
        self.answer: Answer | None = None  # to the request that it carries out

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.tasks or self.dropped or self._events or self._rows or self.answer)

    def since(self, recorded: RecordedEvent) -> int:
        """Return when an event happened, by the clock that timers are held against."""
        return recorded.row.recorded_at if self._is_real else self.now

    def record(self, stream: StreamName, event: NewEvent) -> None:
        """Write an event at the end of a stream that only this lane writes."""
        self._events.setdefault(stream, []).append(event)

    def put(self, task: Task, *, since: int = 0) -> None:
        """Owe this, or owe it otherwise than before: `since` a time that is over, or from now on."""
        self.dropped.discard(task.id)
        self.tasks[task.id] = task._replace(changed_at=since or self.now)

    def drop(self, task: UUID) -> None:
        """Owe this no more."""
        self.tasks.pop(task, None)
        self.dropped.add(task)

    def again(self, task: Task, error: BaseException, seconds: float) -> None:
        """Have it tried again, after so long."""
        due_at = self.now + int(seconds * 1_000_000)
        self.put(
            task._replace(attempts=task.attempts + 1, due_at=due_at, state=WAITING, error=as_text(error)),
        )

    def park(self, task: Task, error: BaseException) -> None:
        """Put it aside, with all of its key that follows, until somebody says to try again or to skip it."""
        self.put(task._replace(attempts=task.attempts + 1, state=PARKED, error=as_text(error)))

    def rests_on(self, failed: Iterable[Task]) -> None:
        """Commit only if none of these, which failed, took effect after all: under another owner, or too late."""
        self._failed.extend(RowGuard(self._table, (task.id,), "state", WAITING) for task in failed)

    def frees(self, failed: Collection[UUID]) -> bool:
        """Whether there were tasks that failed, and none of them is put aside any more."""
        aside = [
            id for id in failed if id not in self.dropped and (id not in self.tasks or self.tasks[id].state == PARKED)
        ]
        return bool(failed) and not aside

    def change(self, table: Table, key: Any, row: Any) -> None:
        """Write a row of a table of the duty's own; None: it shall be gone."""
        self._rows.setdefault(table, {})[key] = row

    @property
    def guards(self) -> Sequence[RowGuard]:
        """What it rests on."""
        return self._failed

    def writes(self) -> Sequence[StreamWrite]:
        """What goes to the log."""
        return [StreamWrite(stream, ANY, events) for stream, events in self._events.items()]

    def changes(self) -> Sequence[RowChanges]:
        """What goes to the rows beside it."""
        found = [
            RowChanges(
                table,
                [row for row in rows.values() if row is not None],
                [(key,) for key, row in rows.items() if row is None],
            )
            for table, rows in self._rows.items()
        ]
        if self.tasks or self.dropped:
            found.append(RowChanges(self._table, list(self.tasks.values()), [(each,) for each in self.dropped]))
        return found
