"""When a timer acts: not before everything is taken in that the log says was there at its time."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from diptych.clock import SystemClock, id_for
from diptych.events.recorded import to_microseconds
from diptych.store.memory import MemoryEventStore
from diptych.store.sqlite.events import SqliteEventStore
from diptych.subscriptions.tasks import TIMER, Task
from diptych.subscriptions.timers import Timers
from diptych.testing.contracts.events_samples import event, stream, to

pytestmark = pytest.mark.anyio


class OneTimer:
    """A shelf with one timer on it."""

    def __init__(self, due_at: int) -> None:
        self.task = Task(id_for("timer", "one"), 0, TIMER, "key", 1, "Late", due_at=due_at)

    async def due(self, now: int, most: int) -> Sequence[Task]:
        return [self.task] if self.task.due_at <= now else []

    async def next_due(self) -> int | None:
        return self.task.due_at


class SlowClock:
    """Tells the time, and stands still until it is let go: whoever asks holds the lock of the log meanwhile."""

    def __init__(self) -> None:
        self.is_asked, self.may_go_on = threading.Event(), threading.Event()
        self.told = 0

    def now(self) -> datetime:
        now = SystemClock().now()
        if not self.may_go_on.is_set():
            self.told = to_microseconds(now)
            self.is_asked.set()
            self.may_go_on.wait(20)
        return now


async def timers(store: Any, due_at: int) -> Timers:
    found = Timers(store, OneTimer(due_at))  # type: ignore[arg-type]
    await found.begin()
    return found


def now() -> int:
    return to_microseconds(SystemClock().now())


async def test_it_waits_until_all_is_taken_in_that_was_there_at_its_time() -> None:
    """S2"""
    store = MemoryEventStore()
    await store.open()
    due_at = now()
    one = await timers(store, due_at)
    await store.append(to(stream(), event(), event()))
    assert await one.take(due_at - 1, 0) == ()
    assert await one.take(now(), 1) == ()
    await store.append(to(stream(), event()))
    assert [task.due_at for task in await one.take(now(), 2)] == [due_at]
    await store.close()


async def test_it_waits_for_what_was_recorded_before_its_time_and_commits_after(tmp_path: Path) -> None:
    """S2: the payment got its time, and the disk is slow; who looks at the log now does not see it yet."""
    clock = SlowClock()
    clock.may_go_on.set()
    file = f"{tmp_path}/shop.db"
    paying, looking = SqliteEventStore(file, clock=clock), SqliteEventStore(file)
    await paying.open()
    await looking.open()
    await paying.append(to(stream(), event()))
    clock.may_go_on.clear()
    payment = asyncio.create_task(paying.append(to(stream(), event())))
    await asyncio.to_thread(clock.is_asked.wait, 20)
    one = await timers(looking, clock.told + 1)
    assert (await looking.head()).position == 1
    taking = asyncio.create_task(one.take(now(), 1))
    asyncio.get_running_loop().call_later(0.05, clock.may_go_on.set)
    assert await taking == ()
    paid = await payment
    assert paid.recorded_at < clock.told + 1
    assert len(await one.take(now(), paid.position)) == 1
    await looking.close()
    await paying.close()
