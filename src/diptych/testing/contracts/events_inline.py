"""The contract of inline projections: rows that commit with the events they were made of."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from diptych.errors import ProjectionError, WrongExpectedVersionError
from diptych.events.recorded import StoredEvent
from diptych.store.batches import Load, RowChanges
from diptych.store.protocols import Append, EventStore, StreamWrite
from diptych.stream import ANY, NO_STREAM, Expected, StreamName
from diptych.testing.contracts.events_samples import EventStoreHarness, event, everything, stream, to
from diptych.testing.contracts.view_rows import TALLIES, TALLY, Tally


class Counting:
    """A fold that counts events, remembers them, and fails when told to."""

    name = TALLIES.name

    def __init__(self, *, fails: bool = False) -> None:
        self.seen: list[StoredEvent] = []
        self._fails = fails

    def loads(self, events: Sequence[StoredEvent]) -> Sequence[Load]:
        """Ask for the one row."""
        return [Load(TALLY, ("name",), [("events",)])]

    def fold(self, events: Sequence[StoredEvent], rows: Mapping[str, Sequence[Any]]) -> Sequence[RowChanges]:
        """Count on."""
        if self._fails:
            raise ProjectionError(self.name, events[0].position, events[0].type, "told to fail")
        self.seen.extend(events)
        before = rows["tally"][0].total if rows["tally"] else 0
        return [RowChanges(TALLY, [Tally(name="events", total=before + len(events))])]

    def script(self, events: Sequence[StoredEvent]) -> None:
        """Write no SQL."""


class InlineContract(EventStoreHarness):
    """An append and its inline rows are one: both are there, or neither."""

    @pytest.fixture
    async def inline(self, store: EventStore) -> EventStore:
        """The store, with one inline projection."""
        await store.inline.open([TALLIES], store_id=store.store_id)
        return store

    async def test_rows_and_their_checkpoint_are_there_when_the_append_is(self, inline: EventStore) -> None:
        """L7"""
        for count in (2, 3):
            appended = await inline.append(_appending(count, Counting()))
            assert list(appended.folded) == [TALLIES.name]
        assert await _standing(inline) == (5, 5)

    async def test_a_fold_sees_the_events_as_they_are_stored(self, inline: EventStore) -> None:
        """P3: a row made of anything else would differ after a rebuild."""
        fold = Counting()
        for _ in range(3):
            await inline.append(_appending(2, fold))
        assert fold.seen == list(await everything(inline))

    async def test_appends_at_the_same_time_fold_one_after_the_other(self, inline: EventStore) -> None:
        """P1"""
        await asyncio.gather(*[inline.append(_appending(1, Counting())) for _ in range(30)])
        assert await _standing(inline) == (30, 30)

    async def test_a_projection_that_is_behind_is_left_out(self, inline: EventStore) -> None:
        """P2: it never skips; who is behind is caught up by a worker first."""
        await inline.append(to(stream(), event()))
        appended = await inline.append(_appending(1, Counting()))
        assert (await _standing(inline), list(appended.folded)) == ((0, 0), [])
        assert (await inline.head()).position == 2

    async def test_a_projection_of_several_lanes_is_left_out(self, store: EventStore) -> None:
        """P1: it is asynchronous in other code, whose workers would apply the event once more."""
        await store.inline.open([TALLIES._replace(lanes=16)], store_id=store.store_id)
        await store.append(_appending(1, Counting()))
        assert await _standing(store) == (0, 0)
        assert {place.position for place in await store.inline.places(TALLIES.name)} == {0}

    async def test_a_failing_fold_refuses_its_append_alone(self, inline: EventStore) -> None:
        """L7"""
        appends = [_appending(1, Counting(fails=turn == 1)) for turn in range(3)]
        outcomes = await asyncio.gather(*[inline.append(each) for each in appends], return_exceptions=True)
        assert [isinstance(each, ProjectionError) for each in outcomes] == [False, True, False]
        assert [each.position for each in await everything(inline)] == [1, 2]
        assert await _standing(inline) == (2, 2)

    async def test_a_refused_append_leaves_no_rows(self, inline: EventStore) -> None:
        """L6, L7"""
        name = stream()
        await inline.append(_appending(1, Counting(), name=name))
        with pytest.raises(WrongExpectedVersionError):
            await inline.append(_appending(1, Counting(), name=name, expected=NO_STREAM))
        assert await _standing(inline) == (1, 1)


def _appending(count: int, fold: Counting, *, name: StreamName | None = None, expected: Expected = ANY) -> Append:
    events = [event() for _ in range(count)]
    return Append([StreamWrite(name or stream(), expected, events)], inline=[fold])


async def _standing(store: EventStore) -> tuple[int, int]:
    """What the projection has counted, and where it stands."""
    rows = (await store.inline.load(1, [Load(TALLY, ("name",), [("events",)])]))["tally"]
    return (rows[0].total if rows else 0), (await store.inline.checkpoint(TALLIES.name)).position
