"""The tasks of a lane that this process has in hand: performed at the same time, those of one key one after another.

Rule: it starts and waits; what an outcome means is the duty's, what is written the turn's.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Final
from uuid import UUID

from diptych.events.recorded import RecordedEvent
from diptych.subscriptions.duty import Finished
from diptych.subscriptions.failures import Backoff, is_passing
from diptych.subscriptions.reading import Pace
from diptych.subscriptions.tasks import TIMER, Task

Perform = Callable[[Task, RecordedEvent | None], Awaitable[Any]]
_AT_ONCE: Final = 64


class InHand:
    """Waiting tasks, in queues by key; the first of each queue is performed when it is due."""

    def __init__(self, perform: Perform, wake: Callable[[], None], pace: Pace) -> None:
        self._perform, self._wake, self._pace = perform, wake, pace
        self._queues: dict[str, deque[Task]] = {}
        self._events: dict[UUID, RecordedEvent] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._finished: deque[Finished] = deque()
        self._is_ending = False

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    @property
    def is_busy(self) -> bool:
        """Whether something is performed, or was and is not taken in."""
        return bool(self._running or self._finished)

    @property
    def ids(self) -> Collection[UUID]:
        """Of all that is in hand."""
        return {task.id for queue in self._queues.values() for task in queue}

    def add(self, task: Task, now: int, recorded: RecordedEvent | None = None) -> None:
        """Take a task in hand, or the same task as it is now."""
        queue = self._queues.setdefault(task.key, deque())
        if recorded is not None:
            self._events[task.id] = recorded
        if queue and queue[0].id == task.id:
            queue[0] = task
        else:
            queue.append(task)
        if len(queue) == 1 or queue[0] is task:
            self._start(task.key, max(0.0, (task.due_at - now) / 1_000_000))

    def finished(self, most: int) -> list[Finished]:
        """Take what was performed since."""
        return [self._finished.popleft() for _ in range(min(most, len(self._finished)))]

    def over(self, task: Task, now: int) -> None:
        """Have the next of its key performed: this one is done with."""
        queue = self._queues.get(task.key)
        self._events.pop(task.id, None)
        if queue and queue[0].id == task.id:
            queue.popleft()
            if queue:
                self._start(task.key, max(0.0, (queue[0].due_at - now) / 1_000_000))
            else:
                del self._queues[task.key]

    def behind(self, task: Task) -> Iterable[Task]:
        """Return those of its key that come after it; a timer is behind all that was asked for before."""
        if task.kind == TIMER:
            return []
        return [each for each in self._queues.get(task.key, ()) if each.number > task.number]

    def let_go(self, task: Task) -> None:
        """Have neither this one in hand nor those behind it: they were put aside. What was asked before goes on."""
        gone = {each.id for each in (task, *self.behind(task))}
        queue = deque(each for each in self._queues.pop(task.key, ()) if each.id not in gone)
        if queue:
            self._queues[task.key] = queue
        for id in gone:
            self._events.pop(id, None)

    def forget(self, task_id: UUID) -> None:
        """Stop this one, if it is in hand: it is not owed any more."""
        for key, queue in self._queues.items():
            if any(task.id == task_id for task in queue):
                is_first = queue[0].id == task_id
                self._queues[key] = deque(task for task in queue if task.id != task_id)
                if is_first and key in self._running:
                    self._running[key].cancel()
                if not self._queues[key]:
                    del self._queues[key]
                return

    async def end(self, seconds: float) -> None:
        """Begin nothing more; give what runs so long, then stop it."""
        self._is_ending = True
        running = list(self._running.values())
        if running:
            _, late = await asyncio.wait(running, timeout=seconds)
            for each in late:
                each.cancel()
            if late:
                await asyncio.wait(late)

    def stop(self) -> None:
        """Stop what runs, at once."""
        self._is_ending = True
        for each in self._running.values():
            each.cancel()

    def _start(self, key: str, after: float) -> None:
        if self._is_ending or key in self._running:
            return
        running = asyncio.create_task(self._run(key, after), name=f"diptych-task-{key}")
        self._running[key] = running

    async def _run(self, key: str, after: float) -> None:
        is_cut = False
        try:
            if after:
                await asyncio.sleep(after)
            async with self._places:
                queue = self._queues.get(key)  # gone, if it was put aside meanwhile
                if queue:
                    self._finished.append(await self._outcome(queue[0]))
        except asyncio.CancelledError:
            is_cut = True
            raise
        finally:
            self._running.pop(key, None)
            if is_cut and key in self._queues:  # those behind it are not stopped
                self._start(key, 0.0)
            self._wake()

    async def _outcome(self, task: Task) -> Finished:
        """Perform it; while the store is away, again and again: that is no outcome of the task."""
        backoff = Backoff(self._pace.first_pause, self._pace.longest_pause)
        while True:
            try:
                return Finished(task, await self._perform(task, self._events.get(task.id)))
            except Exception as error:
                if not is_passing(error):
                    return Finished(task, None, error)
                await asyncio.sleep(backoff.next())
