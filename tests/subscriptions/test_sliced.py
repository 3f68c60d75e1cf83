"""P4, P1: pages that hold the events of some slices only, each where it is in the log."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from diptych.errors import StoreCorruptedError
from diptych.events.codec import Codec
from diptych.store.memory import MemoryEventStore
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY, StreamName
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.reading import LogReader, Pace, SharedPage
from diptych.subscriptions.sliced import ELSEWHERE, SlicedRows
from tests.subscriptions.test_reading import Rung

pytestmark = pytest.mark.anyio

MINE, OTHERS = range(512), range(512, 1024)
_NAMES = [StreamName("", "Bell", UUID(int=n)) for n in range(40)]
A, B = next(name for name in _NAMES if name.slice in MINE), next(name for name in _NAMES if name.slice in OTHERS)
ORDER = (B, A, B, B, A, A, B)


@pytest.fixture
async def store() -> AsyncIterator[MemoryEventStore]:
    """A log of seven events, the second, fifth and sixth of them ours."""
    codec, store = Codec(), MemoryEventStore()
    codec.register(Rung)
    await store.open()
    for times, name in enumerate(ORDER):
        await store.append(Append([StreamWrite(name, ANY, [codec.encode(Rung(times=times))])]))
    yield store
    await store.close()


def reader_of(store: MemoryEventStore, slices: range | None, size: int = 100) -> LogReader:
    codec = Codec()
    codec.register(Rung)
    reader = LogReader(store, codec, Pace(page_events=size))
    reader.read_only(slices)
    return reader


async def page_of(reader: LogReader, after: int) -> SharedPage:
    page = await reader.page(after)
    assert page is not None
    return page


async def test_events_are_in_their_places_and_others_are_empty(store: MemoryEventStore) -> None:
    page = await page_of(reader_of(store, MINE), 0)
    assert (page.after, page.scanned, len(page.rows)) == (0, 7, 7)
    assert [row.position for row in page.rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [index for index, type in enumerate(page.types) if type != ELSEWHERE] == [1, 4, 5]
    assert [page.event(index) for index in (1, 4, 5)] == [Rung(times=1), Rung(times=4), Rung(times=5)]
    lanes = page.lanes(16)
    assert {lanes[index] for index in (1, 4, 5)} == {lane_of(str(A.id), 16)}


async def test_an_empty_place_tells_no_event_but_the_last_one_of_the_page(store: MemoryEventStore) -> None:
    """P2: a checkpoint on an empty place needs the event that is there."""
    all, page = await page_of(reader_of(store, None), 0), await page_of(reader_of(store, MINE), 0)
    assert [bool(row.event_id) for row in page.rows] == [False, True, False, False, True, True, True]
    assert (page.rows[-1].event_id, page.rows[-1].recorded_at) == (all.rows[6].event_id, all.rows[6].recorded_at)
    assert all.rows[3].recorded_at <= page.rows[3].recorded_at <= all.rows[4].recorded_at
    assert [row.position for row in page.rows[2:5]] == [3, 4, 5]


async def test_an_empty_place_behind_all_that_is_ours_is_as_old_as_the_last(store: MemoryEventStore) -> None:
    codec = Codec()
    codec.register(Rung)
    await store.append(Append([StreamWrite(B, ANY, [codec.encode(Rung(times=7))])]))
    page = await page_of(reader_of(store, MINE), 0)
    assert [bool(row.event_id) for row in page.rows[5:]] == [True, False, True]
    assert page.rows[6].recorded_at == page.rows[7].recorded_at


async def test_pages_of_slices_go_on_to_the_end_of_the_log(store: MemoryEventStore) -> None:
    reader, after, found = reader_of(store, MINE, size=1), 0, []
    while (page := await reader.page(after)) is not None:
        found += [row.position for row in page.rows if row.type != ELSEWHERE]
        after = page.scanned
    assert (found, after) == ([2, 5, 6], 7)


async def test_a_page_of_other_slices_is_not_taken_for_ours(store: MemoryEventStore) -> None:
    """P1: who is given more lanes meanwhile may not be shown empty places where their events are."""
    reader = reader_of(store, MINE)
    await reader.page(0)
    reader.read_only(None)
    page = await page_of(reader, 0)
    assert ELSEWHERE not in page.types


async def test_an_event_in_the_slice_of_another_stream_stops_the_reader(store: MemoryEventStore) -> None:
    """P4: whoever looks for it by its stream's slice passes it over, so that one who meets it has to say so."""
    page = await store.read_slices(after=0, slices=MINE)
    with pytest.raises(StoreCorruptedError, match=f"position 2 is not in the slice of its stream Bell-{A.id}"):
        SlicedRows(page, OTHERS)
