"""Tasks in hand: those of one key one after another, whatever is stopped or put aside meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import anyio
import pytest

from diptych.clock import new_id
from diptych.errors import StoreUnavailableError
from diptych.events.recorded import RecordedEvent
from diptych.subscriptions.in_hand import InHand
from diptych.subscriptions.reading import Pace
from diptych.subscriptions.tasks import TIMER, Task
from tests.waiting import until

pytestmark = pytest.mark.anyio


class Doing:
    """Performs as it is told: each task has a gate, and what it raises."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.gates: dict[int, asyncio.Event] = {}
        self.errors: dict[int, list[BaseException]] = {}
        self.in_hand = InHand(self.perform, lambda: None, Pace(first_pause=0.001, longest_pause=0.001))

    async def perform(self, task: Task, recorded: RecordedEvent | None) -> Any:
        """Do it."""
        self.begun.append(task.number)
        if task.number in self.gates:
            await self.gates[task.number].wait()
        if self.errors.get(task.number):
            raise self.errors[task.number].pop(0)
        return task.number


@pytest.fixture
async def doing() -> AsyncIterator[Doing]:
    """What does it, and is stopped in the end."""
    found = Doing()
    yield found
    found.in_hand.stop()


def task(number: int, id: UUID | None = None) -> Task:
    """One of the only key."""
    return Task(id or new_id(), 0, "command", "key", number, "Do")


async def test_a_store_that_is_away_is_no_outcome(doing: Doing) -> None:
    """It is tried until it is back."""
    doing.errors[1] = [StoreUnavailableError("away"), StoreUnavailableError("away")]
    doing.in_hand.add(task(1), 0)
    await until(lambda: len(doing.begun) == 3 and doing.in_hand.is_busy)
    (finished,) = doing.in_hand.finished(10)
    assert (finished.result, finished.error) == (1, None)


async def test_what_cancels_itself_has_failed(doing: Doing) -> None:
    """A handler that waits for something that was cancelled raises CancelledError: nobody stopped it."""
    doing.errors[1] = [asyncio.CancelledError()] * 1000
    doing.in_hand.add(task(1), 0)
    await until(lambda: doing.begun and not doing.in_hand._running)
    (finished,) = doing.in_hand.finished(10)
    assert (doing.begun, finished.error is None) == ([1], False)
    assert "cancelled" in str(finished.error)


async def test_the_outcome_of_what_is_owed_no_more_is_forgotten(doing: Doing) -> None:
    """S3: a step that was stopped just when it had failed is not tried again."""
    one = task(1)
    doing.errors[1] = [OSError("dead")]
    doing.in_hand.add(one, 0)
    await until(lambda: doing.begun and not doing.in_hand._running)
    doing.in_hand.forget(one.id)
    assert doing.in_hand.finished(10) == []
    assert not doing.in_hand.is_busy


async def test_what_was_behind_something_that_is_put_aside_goes_on(doing: Doing) -> None:
    """S1: what was asked before it came is not forgotten, in whichever order they came in hand."""
    released, asked = task(6000), task(5003)
    doing.in_hand.add(released, 0)
    doing.in_hand.add(asked, 0)
    await until(lambda: doing.begun == [6000] and not doing.in_hand._running)
    assert len(doing.in_hand.finished(10)) == 1
    doing.in_hand.let_go(released)
    await until(lambda: doing.begun == [6000, 5003])


async def test_what_is_over_and_not_yet_taken_in_is_not_done_again(doing: Doing) -> None:
    """S1: a timer of its key is put aside in the very moment in which it has ended."""
    first, second, timer = task(1001), task(1002), task(1000)._replace(kind=TIMER)
    doing.in_hand.add(first, 0)
    doing.in_hand.add(second, 0)
    await until(lambda: bool(doing.in_hand.finished(10)) and not doing.in_hand._running)
    doing.in_hand.let_go(timer)
    for _ in range(5):
        await asyncio.sleep(0)
    assert doing.begun == [1001]
    assert len(doing.in_hand.finished(10)) == 1
    doing.in_hand.over(first, 0)
    await until(lambda: doing.begun == [1001, 1002])


async def test_what_is_behind_a_stopped_one_is_done(doing: Doing) -> None:
    """Those of one key come one after another."""
    first, second = task(1), task(2)
    doing.gates[1] = asyncio.Event()
    doing.in_hand.add(first, 0)
    doing.in_hand.add(second, 0)
    await until(lambda: doing.begun == [1])
    doing.in_hand.forget(first.id)
    await until(lambda: doing.begun == [1, 2])


async def test_what_is_behind_one_that_swallows_its_end_is_done(doing: Doing) -> None:
    """S3: it was never begun, and the outcome of the one that is owed no more was taken in."""
    gate, first = asyncio.Event(), task(1)

    async def deaf(task: Task, recorded: RecordedEvent | None) -> Any:
        doing.begun.append(task.number)
        if task.number == 1:
            with suppress(asyncio.CancelledError):
                await gate.wait()
        return task.number

    doing.in_hand = InHand(deaf, lambda: None, Pace())
    doing.in_hand.add(first, 0)
    doing.in_hand.add(task(2), 0)
    await until(lambda: doing.begun == [1])
    doing.in_hand.forget(first.id)
    await until(lambda: doing.begun == [1, 2] and not doing.in_hand._running)
    assert [one.result for one in doing.in_hand.finished(10)] == [2]


async def test_what_is_behind_one_that_is_stopped_before_it_began_is_done(doing: Doing) -> None:
    """S1: a task that is cancelled before its first step runs nothing, not even what says that it is over."""
    first, second = task(1), task(2)
    doing.in_hand.add(first, 0)
    doing.in_hand.add(second, 0)
    doing.in_hand.forget(first.id)
    await until(lambda: doing.begun == [2])


async def test_what_is_over_and_was_forgotten_before_takes_no_other_with_it(doing: Doing) -> None:
    """S1: a task that ended and is owed no more, and the one behind it, which is performed already."""
    first, second = task(1), task(2)
    doing.gates[2] = asyncio.Event()
    doing.in_hand.add(first, 0)
    await until(lambda: bool(doing.in_hand.finished(10)))
    doing.in_hand.add(second, 0)
    doing.in_hand.forget(first.id)
    await until(lambda: doing.begun == [1, 2])
    doing.in_hand.over(first, 0)
    assert len(doing.in_hand) == 1
    doing.in_hand.forget(second.id)
    doing.in_hand.over(second, 0)
    assert len(doing.in_hand) == 0


@pytest.mark.parametrize("how", ["over", "put aside"])
async def test_an_event_is_kept_no_longer_than_its_task(doing: Doing, how: str) -> None:
    """P8: else every event that was ever taken would stay in memory."""
    one = task(1)
    doing.in_hand.add(one, 0, cast(RecordedEvent, object()))
    assert list(doing.in_hand._events) == [one.id]
    if how == "over":
        doing.in_hand.over(one, 0)
    else:
        doing.in_hand.let_go(one)
    assert not doing.in_hand._events


async def test_at_the_end_nothing_more_is_begun_and_what_runs_may_finish(doing: Doing) -> None:
    first, second = task(1), task(2)
    doing.gates[1] = asyncio.Event()
    doing.in_hand.add(first, 0)
    doing.in_hand.add(second, 0)
    await until(lambda: doing.begun == [1])
    ending = asyncio.create_task(doing.in_hand.end(10.0))
    await asyncio.sleep(0)
    doing.gates[1].set()
    await ending
    assert [one.result for one in doing.in_hand.finished(10)] == [1]
    doing.in_hand.over(first, 0)
    assert not doing.in_hand._running


async def test_the_end_waits_for_nothing_that_is_only_to_come(doing: Doing) -> None:
    first = task(1)
    doing.in_hand.add(first, 0)
    await until(lambda: bool(doing.in_hand.finished(10)))
    doing.in_hand.over(first, 0)
    doing.in_hand.add(task(2)._replace(due_at=3600 * 1_000_000), 0)
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await doing.in_hand.end(3600.0)
    assert doing.begun == [1]
    assert not doing.in_hand._running


async def test_by_a_clock_that_was_set_back_a_retry_waits_no_longer_than_was_meant(doing: Doing) -> None:
    """S1: it waited as long as the clock had been ahead when it failed, a year perhaps."""
    ahead = 365 * 86_400 * 1_000_000
    doing.in_hand.add(task(1)._replace(due_at=ahead + 1000, changed_at=ahead), 0)
    await until(lambda: doing.begun == [1])


async def test_what_takes_too_long_at_the_end_is_stopped(doing: Doing) -> None:
    doing.gates[1] = asyncio.Event()
    doing.in_hand.add(task(1), 0)
    await until(lambda: doing.begun == [1])
    async with asyncio.timeout(10):
        await doing.in_hand.end(0.0)
    assert not doing.in_hand.is_busy


async def test_what_is_behind_something_that_is_stopped_is_not_begun(doing: Doing) -> None:
    """P5: the lane is another's."""
    doing.gates[1] = asyncio.Event()
    doing.in_hand.add(task(1), 0)
    doing.in_hand.add(task(2), 0)
    await until(lambda: doing.begun == [1])
    doing.in_hand.stop()
    await until(lambda: not doing.in_hand.is_busy)
    assert doing.begun == [1]


async def test_what_is_paused_begins_when_it_goes_on(doing: Doing) -> None:
    doing.in_hand.may_begin.clear()
    doing.in_hand.add(task(1), 0)
    await until(lambda: doing.in_hand.is_busy)
    await asyncio.sleep(0)
    assert doing.begun == []
    doing.in_hand.may_begin.set()
    await until(lambda: doing.begun == [1])


async def test_what_swallows_its_end_is_left_behind(doing: Doing, caplog: pytest.LogCaptureFixture) -> None:
    """A stop that waited for it went on for ever, and kept the lane from everybody else."""
    gate = asyncio.Event()

    async def deaf() -> None:
        while not gate.is_set():
            with suppress(asyncio.CancelledError):
                await gate.wait()

    doing.gates[1] = SimpleNamespace(wait=deaf)  # type: ignore[assignment]
    doing.in_hand.add(task(1), 0)
    await until(lambda: doing.begun)
    with anyio.fail_after(10):
        await doing.in_hand.end(0.01)
    assert "diptych-task-key goes on, though it was told to end" in caplog.text
    gate.set()
