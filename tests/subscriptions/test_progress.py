"""Progress: waiting by position, and what it says of itself."""

import asyncio

import pytest

from diptych.subscriptions.progress import Place, Progress

pytestmark = pytest.mark.anyio


async def test_who_waits_is_let_go_when_the_position_is_on_disk() -> None:
    """R1: seen is not enough, a snapshot must have it."""
    progress = Progress("orders")
    waiting = asyncio.create_task(progress.wait_for(5, 10))
    await asyncio.sleep(0)
    progress.stands(Place(5), 0)
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


def test_lag_is_never_negative_when_clocks_disagree() -> None:
    progress = Progress("orders")
    progress.behind_since = 5_000_000
    assert progress.lag_seconds(now=4.0) == 0.0


async def test_what_is_frozen_has_nothing_however_far_it_is() -> None:
    """R1: its rows were made by other code, and nobody goes on with them."""
    progress = Progress("orders")
    progress.advance(5)
    assert await progress.wait_for(5, 10)
    progress.is_ruled("frozen", "other code")
    assert not await progress.wait_for(5, 10)
    progress.is_ruled(None)
    assert await progress.wait_for(5, 10)


async def test_what_will_go_on_by_itself_is_waited_for() -> None:
    """A moment's pause of a rebuild, or a worker that may come back."""
    progress = Progress("orders")
    progress.is_ruled("paused", "a rebuild", is_expected=True)
    waiting = asyncio.create_task(progress.wait_for(5, 10))
    await asyncio.sleep(0)
    progress.is_ruled("stopped", "nobody works on it", is_expected=True)
    await asyncio.sleep(0)
    assert not waiting.done()
    progress.is_ruled("stopped", "it broke")
    assert not await waiting


async def test_the_first_that_somebody_waits_for_is_known() -> None:
    progress = Progress("orders")
    assert progress.least_wanted == 0
    waits = [asyncio.create_task(progress.wait_for(position, 10)) for position in (7, 5, 9)]
    await asyncio.sleep(0)
    assert progress.least_wanted == 5
    progress.advance(6)
    await asyncio.sleep(0)
    assert progress.least_wanted == 7
    progress.advance(9)
    assert await asyncio.gather(*waits) == [True] * 3
    assert progress.least_wanted == 0


def test_it_is_where_the_last_of_all_lanes_is() -> None:
    """R1: those here, of which only what is on disk counts, and those of others."""
    progress = Progress("orders")
    progress.stands(Place(7, 70, b"e7"), 6)
    assert (progress.position, progress.saved, progress.recorded_at, progress.event_id) == (7, 6, 70, b"e7")
    progress.hears({1: Place(9), 2: Place(5, 50, b"e5")})
    assert (progress.position, progress.saved, progress.recorded_at, progress.event_id) == (5, 5, 50, b"e5")
    progress.hears({1: Place(9), 2: Place(8)})
    assert (progress.position, progress.saved) == (7, 6)
    progress.has_no_lanes()
    assert (progress.position, progress.saved) == (8, 8)
    progress.hears({})
    assert (progress.position, progress.saved) == (0, 0)


def test_the_last_places_where_it_stood_are_remembered_until_it_goes_back_r1() -> None:
    """What it passes after that may be another history: a server that took over without the last events."""
    progress = Progress("orders")
    for position in range(1, 1001):
        progress.advance(position, event_id=b"e%d" % position)
    progress.advance(1001)
    assert (progress.passed(1000), progress.passed(600)) == (b"e1000", b"e600")
    assert (progress.passed(1001), progress.passed(1)) == (b"", b"")
    progress.has_passed(1, b"e1")  # as the log was asked
    assert progress.passed(1) == b"e1"
    progress.advance(999, event_id=b"f999")
    assert [progress.passed(position) for position in (1, 600, 999, 1000)] == [b"", b"", b"f999", b""]


def test_of_another_generation_nothing_is_known_yet() -> None:
    progress = Progress("orders")
    progress.turns_to(1)
    progress.shows("running")
    progress.hears({1: Place(9)})
    progress.advance(9)
    progress.turns_to(1)
    assert (progress.position, progress.state) == (9, "running")
    progress.turns_to(2)
    assert (progress.position, progress.saved, progress.elsewhere) == (0, 0, {})
    progress.is_ruled(None)
    assert progress.state == "starting"


def test_what_holds_for_the_whole_is_told_before_what_the_lanes_do() -> None:
    progress = Progress("orders")
    progress.is_ruled("paused", "for the night")
    progress.shows("parked", "one key")
    assert (progress.state, progress.error) == ("paused", "for the night")
    progress.is_ruled(None)
    assert (progress.state, progress.error) == ("parked", "one key")
