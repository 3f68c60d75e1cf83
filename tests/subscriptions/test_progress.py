"""Progress: waiting by position, and what it says of itself."""

import asyncio

import pytest

from diptych.subscriptions.progress import Progress

pytestmark = pytest.mark.anyio


async def test_who_waits_is_let_go_when_the_position_is_on_disk() -> None:
    """R1: seen is not enough, a snapshot must have it."""
    progress = Progress("orders")
    waiting = asyncio.create_task(progress.wait_for(5, 10))
    await asyncio.sleep(0)
    progress.saw(5)
    progress.advance(4)
    await asyncio.sleep(0)
    assert not waiting.done()
    progress.advance(6)
    assert await waiting
    assert not progress.is_waited_for


async def test_waiting_ends_with_the_deadline() -> None:
    progress = Progress("orders")
    assert not await progress.wait_for(1, 0.01)
    assert not progress.is_waited_for


async def test_nobody_waits_for_what_is_stopped() -> None:
    progress = Progress("orders")
    waiting = asyncio.create_task(progress.wait_for(5, 10))
    await asyncio.sleep(0)
    progress.stop("it broke")
    assert not await waiting
    assert not await progress.wait_for(5, 10)
    assert (progress.state, progress.error) == ("stopped", "it broke")


async def test_beginning_to_wait_wakes_the_loop() -> None:
    progress, woken = Progress("orders"), []
    progress.wanted = lambda: woken.append(True)
    await progress.wait_for(1, 0.01)
    assert woken == [True]


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    progress = Progress("orders")
    waiting = asyncio.create_task(progress.wait_for(5, 10))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not progress.is_waited_for


def test_lag_is_the_age_of_the_oldest_event_not_applied() -> None:
    progress = Progress("orders")
    progress.head, progress.behind_since = 9, 5_000_000
    assert progress.lag_seconds(now=7.5) == 2.5
    assert not progress.is_caught_up
    progress.advance(9, 6_000_000)
    assert progress.lag_seconds(now=7.5) == 0.0
    assert progress.is_caught_up
