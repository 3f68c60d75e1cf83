"""The shared reader of the log: one read and one decoding for all, and never past a gap (P4)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import anyio
import pytest

from diptych.errors import SkippedPositionsError, StaleReadError, StoreUnavailableError
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.messages import DomainEvent
from diptych.store.memory import MemoryEventStore
from diptych.store.protocols import Append, Head, Page, StreamWrite
from diptych.stream import ANY, StreamName
from diptych.subscriptions.reading import LogReader, Pace
from tests.projections import shop
from tests.projections.running import running

pytestmark = pytest.mark.anyio


class Rung(DomainEvent):
    times: int


class Counting(Codec):
    """Counts how often each position is decoded."""

    def __init__(self) -> None:
        super().__init__()
        self.decoded: list[int] = []

    def reading(self, rows: Sequence[StoredEvent]) -> Callable[[int], DomainEvent]:
        read = super().reading(rows)

        def counting(index: int) -> DomainEvent:
            self.decoded.append(rows[index].position)
            return read(index)

        return counting


class CountingStore(MemoryEventStore):
    """Counts reads of the log, and looks at its end; `hole` is a position it leaves out."""

    reads = looks = 0
    hole = 0

    async def read_log(self, *, after: int, types: frozenset[str] | None = None, limit: int = 1000) -> Page:
        self.reads += 1
        await asyncio.sleep(0)
        page = await super().read_log(after=after, types=types, limit=limit)
        events = [event for event in page.events if event.position != self.hole]
        return Page(page.after, page.scanned, events, page.head)

    async def head(self) -> Head:
        self.looks += 1
        return await super().head()


@asynccontextmanager
async def following(reader: LogReader) -> AsyncIterator[None]:
    """Have it watch the end of the log in the block."""
    watching = asyncio.create_task(reader.follow())
    try:
        yield
    finally:
        watching.cancel()


async def ring(store: MemoryEventStore, codec: Codec) -> None:
    stream = StreamName("", "Bell", UUID(int=2))
    await store.append(Append([StreamWrite(stream, ANY, [codec.encode(Rung(times=1))])]))


async def a_log(count: int) -> tuple[CountingStore, Counting]:
    store, codec = CountingStore(), Counting()
    await store.open()
    events = [codec.encode(Rung(times=n)) for n in range(count)]
    await store.append(Append([StreamWrite(StreamName("", "Bell", UUID(int=1)), ANY, events)]))
    return store, codec


async def test_readers_at_one_place_share_one_read_and_one_decoding() -> None:
    store, codec = await a_log(10)
    reader = LogReader(store, codec, Pace())
    pages = await asyncio.gather(*(reader.page(after) for after in (0, 0, 3, 9)))
    assert store.reads == 1
    for page in pages:
        assert page is pages[0]
        assert page is not None
        assert [page.event(index) for index in range(10)][9] == Rung(times=9)
    assert codec.decoded == list(range(1, 11))


async def test_a_reader_that_is_cancelled_does_not_take_the_others_with_it() -> None:
    store, codec = await a_log(10)
    reader = LogReader(store, codec, Pace())
    first, second = asyncio.create_task(reader.page(0)), asyncio.create_task(reader.page(0))
    await asyncio.sleep(0)
    first.cancel()
    page = await second
    assert page is not None
    assert len(page.rows) == 10


async def test_pages_follow_one_another_to_the_end_of_the_log() -> None:
    store, codec = await a_log(25)
    reader, after, sizes = LogReader(store, codec, Pace(page_events=10)), 0, []
    while (page := await reader.page(after)) is not None:
        sizes.append(len(page.rows))
        after = page.scanned
    assert (sizes, after) == ([10, 10, 5], 25)


async def test_which_event_is_at_a_position_is_known_of_the_pages_and_else_asked_r1() -> None:
    store, codec = await a_log(25)
    reader = LogReader(store, codec, Pace(page_events=10))
    await reader.page(10)
    ids = [row.event_id for row in (await store.read_log(after=0)).events]
    reads = store.reads
    assert [await reader.id_at(position) for position in (11, 15, 20)] == [ids[10], ids[14], ids[19]]
    assert store.reads == reads
    assert [await reader.id_at(position) for position in (1, 10, 21, 25, 26)] == [ids[0], ids[9], ids[20], ids[24], b""]


@pytest.mark.parametrize("hole", [1, 5, 9])
async def test_a_gap_stops_the_reader(hole: int) -> None:
    """P4."""
    store, codec = await a_log(10)
    store.hole = hole
    with pytest.raises(SkippedPositionsError) as caught:
        await LogReader(store, codec, Pace()).page(0)
    assert (caught.value.after, caught.value.found) == (hole - 1, hole + 1)


async def test_a_gap_stops_a_projection_and_says_where() -> None:
    """P4: loudly, and before anything behind the gap is applied."""

    class Holed:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        async def read_log(self, *, after: int, types: frozenset[str] | None = None, limit: int = 1000) -> Page:
            page: Page = await self.inner.read_log(after=after, types=types, limit=limit)
            return Page(page.after, page.scanned, [e for e in page.events if e.position != 2], page.head)

    async with running("memory:", shop.Baskets, wrap=Holed, is_started=False) as shop_:
        await shop_.append([(shop.order(str(n)), shop.placed()) for n in range(3)])
        await shop_.engine.start()
        with pytest.raises(StaleReadError, match="stopped"):
            await shop_.engine.caught_up()
        progress = shop_.engine.progress["baskets"]
        assert progress.error == "Position 3 came after 1: events are missing between them. Verify the store."
        assert progress.saved == 0


async def test_listeners_hear_of_new_events() -> None:
    store, codec = await a_log(1)
    reader, news = LogReader(store, codec, Pace(poll=0.05)), asyncio.Event()
    reader.listen(news)
    async with following(reader):
        with anyio.fail_after(5):
            await news.wait()
            assert reader.head.position == 1
            news.clear()
            await ring(store, codec)
            await news.wait()
        assert reader.head.position == 2


async def test_nothing_is_asked_while_nobody_listens() -> None:
    """An app without projections pays nothing for them."""
    store, codec = await a_log(1)
    reader, news = LogReader(store, codec, Pace()), asyncio.Event()
    async with following(reader):
        await ring(store, codec)
        await anyio.wait_all_tasks_blocked()
        assert (store.reads, store.looks) == (0, 0)
        reader.listen(news)
        with anyio.fail_after(5):
            await news.wait()
        assert reader.head.position == 2
        reader.hear_no_more(news)
        await ring(store, codec)  # the one look that was begun
        await anyio.wait_all_tasks_blocked()
        asked = (store.reads, store.looks)
        await ring(store, codec)
        await anyio.wait_all_tasks_blocked()
        assert (store.reads, store.looks) == asked


async def test_the_end_is_not_read_while_those_who_read_are_far_behind() -> None:
    """What they will read when they get there is not read twice; they still hear how long the log is."""
    store, codec = await a_log(30)
    reader, news = LogReader(store, codec, Pace(page_events=10)), asyncio.Event()
    reader.listen(news)
    async with following(reader):
        with anyio.fail_after(5):
            await news.wait()
            await reader.page(0)
            assert store.reads == 1
            for position in (31, 32):
                news.clear()
                await ring(store, codec)
                await news.wait()
                assert (reader.head.position, store.reads) == (position, 1)
            await reader.page(30)  # there, and what comes now is read as it comes
            news.clear()
            await ring(store, codec)
            await news.wait()
            assert (reader.head.position, store.reads) == (33, 3)


async def test_the_end_of_the_log_is_told_by_what_is_read_there() -> None:
    store, codec = await a_log(1)
    reader, news = LogReader(store, codec, Pace()), asyncio.Event()
    reader.listen(news)
    async with following(reader):
        for position in range(1, 6):
            with anyio.fail_after(5):
                await news.wait()
            news.clear()
            assert reader.head.position == position
            await ring(store, codec)
        assert store.looks == 1


async def test_an_empty_log_has_no_page() -> None:
    store = MemoryEventStore()
    await store.open()
    reader = LogReader(store, Codec(), Pace())
    assert await reader.page(0) is None
    assert reader.head == Head()


class StumblingStore(CountingStore):
    """Fails with something that no store should ever let out, a few times."""

    stumbles = 3

    async def head(self) -> Head:
        if self.stumbles:
            self.stumbles -= 1
            raise RuntimeError("nobody foresaw this")
        return await super().head()


async def test_an_error_that_nobody_foresaw_is_survived_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """P6, P7: the projections of the process go on."""
    store, codec = StumblingStore(), Counting()
    await store.open()
    reader = LogReader(store, codec, Pace(first_pause=0.01, longest_pause=0.02))
    seen = asyncio.Event()
    reader.listen(seen)
    following = asyncio.create_task(reader.follow())
    await asyncio.wait_for(seen.wait(), 5)
    with pytest.raises(StoreUnavailableError, match="nobody foresaw this"):
        reader.check()
    await store.append(Append([StreamWrite(StreamName("", "Bell", UUID(int=1)), ANY, [codec.encode(Rung(times=1))])]))
    async with asyncio.timeout(5):
        while reader.head.position < 1:
            seen.clear()
            await seen.wait()
    reader.check()
    following.cancel()
    assert "The log cannot be read" in caplog.text
