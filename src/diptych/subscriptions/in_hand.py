"""The tasks of a lane that this process has in hand: performed at the same time, those of one key one after another.

Rule: it starts and waits; what an outcome means is the duty's, what is written the turn's.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Final
from uuid import UUID

from diptych.events.recorded import RecordedEvent
from diptych.subscriptions.apart import LEFT, kept
from diptych.subscriptions.duty import Finished
from diptych.subscriptions.failures import Backoff, is_passing
from diptych.subscriptions.reading import Pace
from diptych.subscriptions.tasks import EVENT, TIMER, Task, seconds_to, undone

Perform = Callable[[Task, RecordedEvent | None], Awaitable[Any]]
_AT_ONCE: Final = 64
_log: Final = logging.getLogger("diptych.duties")


class InHand:
    """Waiting tasks, in queues by key; the first of each queue is performed when it is due."""

    def __init__(self, perform: Perform, wake: Callable[[], None], pace: Pace) -> None:
        self._perform, self._wake, self._pace = perform, wake, pace
        self._queues: dict[str, deque[Task]] = {}
        self._events: dict[UUID, RecordedEvent] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._is_narrow = False
        self._finished: deque[Finished] = deque()
        self._performing: set[str] = set()
        self._is_ending = False
        self.may_begin = asyncio.Event()
        self.may_begin.set()

    def narrow(self) -> None:
        """Perform one at a time, in the order in which they were given, from the first on until `widen`."""
        self._places, self._is_narrow = asyncio.Semaphore(1), True

    def widen(self) -> None:
        """Perform many at a time again."""
        if self._is_narrow:
            self._is_narrow = False
            for _ in range(_AT_ONCE - 1):
                self._places.release()

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    @property
    def is_busy(self) -> bool:
        """Whether something is performed, or was and is not taken in."""
        return bool(self._running or self._finished)

    @property
    def hold_up(self) -> str | None:
        """A task that is not done, one that failed before any other, and why; None if there is none."""
        first = [queue[0] for queue in self._queues.values()]
        task = next((each for each in first if each.error), next(iter(first), None))
        return None if task is None else undone(task.name, task.key, task.error)

    @property
    def awaited(self) -> Collection[str]:
        """The keys of which events are in hand."""
        return {key for key, queue in self._queues.items() if any(task.kind == EVENT for task in queue)}

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
            self._start(task.key, seconds_to(task, now))

    def finished(self, most: int) -> list[Finished]:
        """Return what was performed since, and not settled."""
        return list(islice(self._finished, most))

    def settled(self, finished: Iterable[Finished]) -> None:
        """Have it that these were taken in."""
        for one in finished:
            with suppress(ValueError):  # it was forgotten meanwhile
                self._finished.remove(one)

    def over(self, task: Task, now: int) -> None:
        """Have the next of its key performed: this one is done with."""
        queue = self._queues.get(task.key)
        self._events.pop(task.id, None)
        if queue and queue[0].id == task.id:
            queue.popleft()
            if queue:
                self._start(task.key, seconds_to(queue[0], now))
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
            if not any(one.task.id == queue[0].id for one in self._finished):  # it is over, and waits to be taken in
                self._start(task.key, 0.0)
        for id in gone:
            self._events.pop(id, None)

    def forget(self, task_id: UUID) -> None:
        """Stop this one, if it is in hand: it is not owed any more, and how it ended is of no interest."""
        for one in [each for each in self._finished if each.task.id == task_id]:
            self._finished.remove(one)
        for key, queue in self._queues.items():
            if any(task.id == task_id for task in queue):
                is_first = queue[0].id == task_id
                self._queues[key] = deque(task for task in queue if task.id != task_id)
                if is_first and key in self._running:
                    self._running[key].cancel()
                if not self._queues[key]:
                    del self._queues[key]
                elif is_first:
                    self._start(key, 0.0)
                return

    async def end(self, seconds: float) -> None:
        """Begin nothing more; give what is being performed so long, then stop it.

        What goes on all the same is left behind: it owns nothing any more, and whoever is next does it again.
        """
        self._is_ending = True
        for key, each in self._running.items():
            if key not in self._performing:
                each.cancel()
        running = list(self._running.values())
        if running:
            _, late = await asyncio.wait(running, timeout=seconds)
            for each in late:
                each.cancel()
            _, deaf = await asyncio.wait(late, timeout=LEFT) if late else ((), ())
            for each in deaf:
                _log.warning("%s goes on, though it was told to end: it swallows cancellation", each.get_name())

    def stop(self) -> None:
        """Stop what runs, at once."""
        self._is_ending = True
        for each in self._running.values():
            each.cancel()

    def _start(self, key: str, after: float) -> None:
        if self._is_ending or key in self._running:
            return
        running = asyncio.create_task(self._run(key, after), name=f"diptych-task-{key}")
        running.add_done_callback(partial(self._ended, key))
        self._running[key] = running

    def _ended(self, key: str, running: "asyncio.Task[None]") -> None:
        """One that was cancelled before its first step has run nothing of `_run`, not even its end."""
        if self._running.get(key) is running:
            del self._running[key]
            if key in self._queues:
                self._start(key, 0.0)

    async def _run(self, key: str, after: float) -> None:
        is_cut = False
        try:
            if after:
                await asyncio.sleep(after)
            async with self._places:
                await self.may_begin.wait()
                queue = self._queues.get(key)  # gone, if it was put aside meanwhile
                if queue:
                    self._performing.add(key)
                    outcome = await self._outcome(queue[0])
                    is_cut = not self._is_first(outcome.task)  # it was to stop, and went on to its end
                    if not is_cut:
                        self._finished.append(outcome)
        except asyncio.CancelledError:
            is_cut = True
            raise
        finally:
            self._running.pop(key, None)
            self._performing.discard(key)
            if is_cut and key in self._queues:  # those behind it are not stopped
                self._start(key, 0.0)
            self._wake()

    def _is_first(self, task: Task) -> bool:
        queue = self._queues.get(task.key)
        return queue is not None and queue[0].id == task.id

    async def _outcome(self, task: Task) -> Finished:
        """Perform it; while the store is away, again and again: that is no outcome of the task."""
        backoff = Backoff(self._pace.first_pause, self._pace.longest_pause)
        while True:
            try:
                return Finished(task, await kept(self._perform(task, self._events.get(task.id))))
            except asyncio.CancelledError as error:
                if _is_stopped():
                    raise
                return Finished(task, None, RuntimeError(f"{task.name} cancelled itself: {error!r}"))
            except Exception as error:
                if not is_passing(error):
                    return Finished(task, None, error)
                await asyncio.sleep(backoff.next())


def _is_stopped() -> bool:
    """Whether the running task was cancelled from outside: a future of its own may have been, too."""
    running = asyncio.current_task()
    return running is not None and running.cancelling() > 0
