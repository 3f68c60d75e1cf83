"""The contract of rows beside the log: what sagas and reactions keep commits with an append, or not at all."""

import asyncio
from collections.abc import Callable

import pytest

from diptych.errors import CheckpointMovedError, RowChangedError, WrongExpectedVersionError
from diptych.store.batches import LaneMove, Load, RowChanges, RowGuard, ViewBatch
from diptych.store.protocols import Append, Appended, EventStore, StreamWrite
from diptych.stream import ANY, NO_STREAM, Expected
from diptych.testing.contracts.events_samples import EventStoreHarness, event, everything, stream, to
from diptych.testing.contracts.view_rows import TALLIES, TALLY, Tally

_ONE = ("one",)
_TWO_LANES = TALLIES._replace(lanes=2)


class BesideContract(EventStoreHarness):
    """An append, the rows beside it, and the lane that moves with them, are one."""

    @pytest.fixture
    async def kept(self, store: EventStore) -> EventStore:
        """The store, with a lane that a worker has claimed, under epoch 1, and five events."""
        await store.inline.open([TALLIES], store_id=store.store_id)
        assert [held.epoch for held in await store.inline.leases.claim("me", TALLIES.name, 1, [0])] == [1]
        await store.append(to(stream(), *[event() for _ in range(5)]))
        return store

    async def test_events_rows_and_lane_commit_together(self, kept: EventStore) -> None:
        """L7, S1"""
        await kept.append(Append(_writes(2), beside=await _batch(kept, 0, 3, total=1)))
        assert await _total(kept) == 1
        assert (await kept.inline.checkpoint(TALLIES.name)).position == 3
        assert (await kept.head()).position == 7

    async def test_rows_without_events_are_an_append_too(self, kept: EventStore) -> None:
        """S1"""
        appended = await kept.append(Append([], beside=await _batch(kept, 0, 5, total=4)))
        assert (appended.position, await _total(kept)) == (5, 4)

    async def test_a_lane_that_moved_refuses_all_of_it(self, kept: EventStore) -> None:
        """P5, L7: of two that begin at one place, one is stored."""
        batches = [await _batch(kept, 0, 2, total=total) for total in (1, 2)]
        appends = [Append(_writes(1), beside=batch) for batch in batches]
        outcomes = await asyncio.gather(*[kept.append(each) for each in appends], return_exceptions=True)
        (refused,) = [each for each in outcomes if isinstance(each, BaseException)]
        assert isinstance(refused, CheckpointMovedError)
        assert (refused.expected, refused.actual) == (0, 2)
        assert len(await everything(kept)) == 6

    async def test_an_old_epoch_writes_nothing(self, kept: EventStore) -> None:
        """P5"""
        await kept.inline.leases.claim("me", TALLIES.name, 1, [0])
        beside = await _batch(kept, 0, 2, total=1)
        with pytest.raises(CheckpointMovedError):
            await kept.append(Append(_writes(1), beside=beside))
        assert (len(await everything(kept)), await _total(kept)) == (5, None)

    async def test_a_refused_append_leaves_no_rows(self, kept: EventStore) -> None:
        """L6, L7"""
        name = stream()
        await kept.append(to(name, event()))
        writes, beside = [StreamWrite(name, NO_STREAM, [event()])], await _batch(kept, 0, 2, total=1)
        with pytest.raises(WrongExpectedVersionError):
            await kept.append(Append(writes, beside=beside))
        assert await _total(kept) is None
        assert (await kept.inline.checkpoint(TALLIES.name)).position == 0

    async def test_a_row_is_taken_once(self, kept: EventStore) -> None:
        """S1: of many who rest on one row and change it, one is stored; without a lane, whoever holds it."""
        await kept.append(Append([], beside=await _batch(kept, 0, 1, total=1)))
        guards = [RowGuard(TALLY, _ONE, "total", 1)]
        taking = ViewBatch(TALLIES.name, 1, [], 0, changes=_row(2), guards=guards)
        appends = [Append(_writes(1), beside=taking) for _ in range(10)]
        outcomes = await asyncio.gather(*[kept.append(each) for each in appends], return_exceptions=True)
        assert sum(isinstance(each, RowChangedError) for each in outcomes) == 9
        assert (len(await everything(kept)), await _total(kept)) == (6, 2)

    async def test_many_rows_beside_one_another_are_each_their_own(self, kept: EventStore) -> None:
        """S1, L3: those who rest on rows of their own are stored, in the order of their events; the others are not."""
        made = [RowChanges(TALLY, [Tally(name=f"row {number}", total=0)]) for number in range(20)]
        await kept.append(Append([], beside=ViewBatch(TALLIES.name, 1, [], 0, changes=made)))
        appends = []
        for number in range(20):
            believed = 1 if number in (3, 11) else 0
            guards = [RowGuard(TALLY, (f"row {number}",), "total", believed)]
            changes = [RowChanges(TALLY, [Tally(name=f"row {number}", total=number + 1)])]
            if number % 4 == 0:
                changes = [RowChanges(TALLY, [], [(f"row {number}",)])]
            beside = ViewBatch(TALLIES.name, 1, [], 0, changes=changes, guards=guards)
            appends.append(kept.append(Append(_writes(1), beside=beside)))
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
        refused = {number for number, each in enumerate(outcomes) if isinstance(each, RowChangedError)}
        places = [each.position for each in outcomes if isinstance(each, Appended)]
        assert (refused, places) == ({3, 11}, list(range(6, 24)))
        names = [(f"row {number}",) for number in range(20)]
        left = (await kept.inline.load(1, [Load(TALLY, ("name",), names)]))[TALLY.name]
        expected = {f"row {n}": 0 if n in refused else n + 1 for n in range(20) if n % 4}
        assert {row.name: row.total for row in left} == expected

    async def test_a_row_is_made_once(self, kept: EventStore) -> None:
        """S1: of many who make one row, each on condition that it is not there, one is stored."""
        batches = [
            ViewBatch(TALLIES.name, 1, [], 0, changes=_row(total), guards=[RowGuard(TALLY, _ONE)])
            for total in range(1, 6)
        ]
        appends = [kept.append(Append(_writes(1), beside=batch)) for batch in batches]
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
        assert sum(isinstance(each, RowChangedError) for each in outcomes) == 4
        assert len(await everything(kept)) == 6

    async def test_a_row_that_is_gone_refuses(self, kept: EventStore) -> None:
        """S1"""
        taking = ViewBatch(TALLIES.name, 1, [], 0, guards=[RowGuard(TALLY, _ONE, "total", 1)])
        with pytest.raises(RowChangedError, match="gone"):
            await kept.append(Append(_writes(1), beside=taking))
        assert len(await everything(kept)) == 5

    async def test_lanes_of_one_duty_go_each_their_way(self, store: EventStore) -> None:
        """P5"""
        await store.inline.open([_TWO_LANES], store_id=store.store_id)
        await store.inline.leases.claim("me", TALLIES.name, 1, [0, 1])
        await store.append(to(stream(), *[event() for _ in range(5)]))
        first, second = await _batch(store, 0, 4, total=1), await _batch(store, 0, 2, total=2)
        second = second._replace(moves=[LaneMove(1, 1, 0)])
        for beside in (first, second):
            await store.append(Append(_writes(1), beside=beside))
        places = {each.lane: each.checkpoint.position for each in (await store.inline.leases.board()).lanes}
        assert places == {0: 4, 1: 2}

    async def test_rows_and_lanes_are_there_after_a_restart(
        self, kept: EventStore, storage: Callable[[], EventStore]
    ) -> None:
        """L1, P5, S1: who still believes to be at the beginning of a lane is refused then, too."""
        beside = await _batch(kept, 0, 3, total=1)
        await kept.append(Append(_writes(2), beside=beside))
        await kept.close()
        again = storage()
        await again.open()
        try:
            await again.inline.open([TALLIES], store_id=again.store_id)
            with pytest.raises(CheckpointMovedError):
                await again.append(Append(_writes(1), beside=beside))
            assert await _total(again) == 1
            assert (await again.inline.checkpoint(TALLIES.name)).position == 3
            await again.append(Append([], beside=await _batch(again, 3, 7, total=2)))
            assert await _total(again) == 2
        finally:
            await again.close()


def _writes(count: int, expected: Expected = ANY) -> list[StreamWrite]:
    return [StreamWrite(stream(), expected, [event() for _ in range(count)])]


def _row(total: int) -> list[RowChanges]:
    return [RowChanges(TALLY, [Tally(name="one", total=total)])]


async def _batch(store: EventStore, expected: int, position: int, *, total: int) -> ViewBatch:
    """A step of the lane from one position onto the event at another."""
    last = (await everything(store))[position - 1]
    return ViewBatch(
        TALLIES.name, 1, [LaneMove(0, 1, expected)], position, last.event_id, last.recorded_at, _row(total)
    )


async def _total(store: EventStore) -> int | None:
    rows = (await store.inline.load(1, [Load(TALLY, ("name",), [_ONE])]))["tally"]
    return rows[0].total if rows else None
