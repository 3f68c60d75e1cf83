"""Who waits for the log to grow is woken by what this process commits, and finds by looking what others did."""

import asyncio
from uuid import UUID

import pytest

from diptych.errors import OtherHistoryError
from diptych.store.batches import Checkpoint
from diptych.store.heads import HeadSignal, HeadWatch
from diptych.store.leases import Board
from diptych.store.protocols import Head
from diptych.store.seen import Kept, Seen, seen_in

pytestmark = pytest.mark.anyio


class Log:
    """Where a log ends, as a store says it; how often it was asked."""

    def __init__(self, position: int = 0) -> None:
        self.position, self.asked = position, 0

    async def head(self) -> Head:
        """Look."""
        self.asked += 1
        return Head(self.position, b"", 0)


async def test_what_is_announced_wakes_who_waits_for_it_in_any_loop() -> None:
    signal = HeadSignal()
    waiting = [asyncio.create_task(signal.wait(after, 60.0)) for after in (0, 4)]
    elsewhere = asyncio.create_task(asyncio.to_thread(asyncio.run, signal.wait(0, 60.0)))
    while len(signal._waiting) < 2:  # noqa: ASYNC110 - it is another loop's
        await asyncio.sleep(0)
    signal.announce(5)
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting, elsewhere)
    assert signal.position == 5
    signal.announce(3)
    assert signal.position == 5
    await signal.wait(4, 60.0)  # it is there already
    assert signal._waiting == {}


async def test_who_has_waited_long_enough_or_is_cancelled_is_not_kept() -> None:
    """P8"""
    signal = HeadSignal()
    await signal.wait(0, 0.001)
    assert signal._waiting == {}
    waiting = [asyncio.create_task(signal.wait(0, 60.0)) for _ in range(2)]
    await asyncio.sleep(0)
    for left, one in ((1, waiting[0]), (0, waiting[1])):
        one.cancel()
        await asyncio.wait((one,))
        assert sum(map(len, signal._waiting.values())) == left


async def test_what_another_process_wrote_is_found_by_looking_and_told_to_all() -> None:
    """P6: every hint may be lost."""
    log, signal = Log(), HeadSignal()
    watch = HeadWatch(signal, log.head, busy=0.001, idle=0.002)
    waiting = [asyncio.create_task(watch.wait(0, 60.0)) for _ in range(3)]
    await asyncio.sleep(0)
    log.position = 7
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)
    assert signal.position == 7
    asked = log.asked
    await watch.wait(6, 60.0)
    assert log.asked == asked  # it is known


async def test_a_wait_for_nothing_ends_when_it_was_to() -> None:
    watch = HeadWatch(HeadSignal(), Log(4).head, busy=0.001, idle=0.001)
    await watch.wait(9, 0.0)
    await watch.wait(9, 0.01)


async def test_a_hint_has_it_look_at_once() -> None:
    log, signal = Log(), HeadSignal()
    watch = HeadWatch(signal, log.head, busy=3600.0, idle=3600.0)
    waiting = asyncio.create_task(watch.wait(0, 3600.0))
    await asyncio.sleep(0)
    log.position = 1
    watch.hint()
    async with asyncio.timeout(10):
        await waiting
    assert (signal.position, log.asked) == (1, 1)


STORE = UUID(int=7)


def kept(furthest: int) -> Kept:
    board = Board(0, [], [], [], {}, [])
    return Kept("shop.views.db", STORE, furthest, {"orders": Checkpoint(3)}, {"orders": []}, board)


def test_rows_are_of_the_log_that_they_were_made_of_or_of_none() -> None:
    """P1"""
    kept(5).check(STORE, Head(5, b"", 0))
    kept(0).check(STORE, Head())
    for rows, store, head in ((kept(6), STORE, 5), (kept(5), UUID(int=8), 5)):
        with pytest.raises(OtherHistoryError, match=r"shop\.views\.db"):
            rows.check(store, Head(head, b"", 0))


def test_where_no_rows_are_a_projection_stands_at_the_beginning() -> None:
    assert seen_in(None, "orders", None) == Seen("orders", Checkpoint(), None, [])
    found = kept(5)
    assert seen_in(found, "orders", None) == Seen("orders", Checkpoint(3), None, [], found.board)
