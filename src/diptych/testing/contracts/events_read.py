"""The contract of reading: whole streams, pages of the log, and no event skipped."""

import asyncio
from operator import attrgetter

import pytest

from diptych.events.recorded import StoredEvent
from diptych.store.protocols import EventStore, Head
from diptych.testing.contracts.events_samples import EventStoreHarness, event, everything, stream, to


class ReadContract(EventStoreHarness):
    """A reader that has read up to a position has read everything up to it."""

    async def test_an_empty_log_has_no_head(self, store: EventStore) -> None:
        """L2"""
        page = await store.read_log(after=0)
        assert (page.scanned, list(page.events), page.head) == (0, [], Head())

    async def test_a_stream_that_is_not_there_has_no_events(self, store: EventStore) -> None:
        """L3"""
        assert list(await store.read_stream(stream())) == []

    @pytest.mark.parametrize(("first", "versions"), [(1, [1, 2, 3]), (2, [2, 3]), (3, [3]), (4, []), (0, [1, 2, 3])])
    async def test_a_stream_is_read_from_a_version_on_itself_included(
        self, store: EventStore, first: int, versions: list[int]
    ) -> None:
        """L3"""
        name = stream()
        await store.append(to(name, event(), event(), event()))
        assert [each.version for each in await store.read_stream(name, first=first)] == versions

    async def test_a_long_stream_is_read_whole(self, store: EventStore) -> None:
        """L3"""
        name = stream()
        for _ in range(5):
            await store.append(to(name, *[event() for _ in range(900)]))
        assert [each.version for each in await store.read_stream(name)] == list(range(1, 4501))

    async def test_streams_of_several_tenants_and_categories_are_found_by_their_id(self, store: EventStore) -> None:
        name, other = stream(), stream()
        same = [name, name._replace(category="Zebra"), name._replace(tenant="acme"), name._replace(tenant="zeta")]
        for each in [*same, other, other._replace(category="Aardvark")]:
            await store.append(to(each, event()))
        assert list(await store.streams_of(name.id)) == sorted(same)
        assert list(await store.streams_of(stream().id)) == []

    async def test_pages_cover_the_log_without_skip_or_repeat(self, store: EventStore) -> None:
        """P4"""
        for _ in range(10):
            await store.append(to(stream(), event(), event(), event()))
        after, positions = 0, []
        while (page := await store.read_log(after=after, limit=7)).events:
            assert (page.after, page.scanned) == (after, page.events[-1].position)
            assert page.head.position == 30
            positions.extend([each.position for each in page.events])
            after = page.scanned
        assert positions == list(range(1, 31))

    async def test_the_log_and_the_stream_show_the_same_events(self, store: EventStore) -> None:
        """L8"""
        name = stream()
        await store.append(to(name, event(one="ü"), event(two=2)))
        in_stream, in_log = await store.read_stream(name), await everything(store)
        assert list(in_stream) == list(in_log)
        assert all(isinstance(each, StoredEvent) for each in [*in_stream, *in_log])

    async def test_a_filtered_page_has_all_events_of_its_types_and_no_other(self, store: EventStore) -> None:
        """P4"""
        for number in range(30):
            await store.append(to(stream(), event("Rare" if number % 10 == 0 else "Common"), event("Other")))
        page = await store.read_log(after=0, types=frozenset({"Rare", "Other", "Never"}), limit=1000)
        assert [each.type for each in page.events].count("Rare") == 3
        assert [each.type for each in page.events].count("Other") == 30
        assert [each.position for each in page.events] == sorted(each.position for each in page.events)
        assert page.scanned == 60

    async def test_a_full_filtered_page_goes_no_further_than_its_last_event(self, store: EventStore) -> None:
        """P4"""
        for _ in range(10):
            await store.append(to(stream(), event("Wanted"), event("Other")))
        page = await store.read_log(after=0, types=frozenset({"Wanted"}), limit=4)
        assert [each.position for each in page.events] == [1, 3, 5, 7]
        assert 7 <= page.scanned < 9
        rest = await store.read_log(after=page.scanned, types=frozenset({"Wanted"}), limit=100)
        assert [each.position for each in rest.events] == [9, 11, 13, 15, 17, 19]

    async def test_a_filtered_page_without_a_match_still_makes_progress(self, store: EventStore) -> None:
        """P4: and ends at or before the head of its snapshot."""
        await store.append(to(stream(), event("Other"), event("Other")))
        page = await store.read_log(after=0, types=frozenset({"Never"}))
        assert (page.scanned, list(page.events), page.head.position) == (2, [], 2)
        nothing = await store.read_log(after=0, types=frozenset())
        assert (nothing.scanned, list(nothing.events)) == (2, [])

    async def test_a_page_names_the_event_before_it(self, store: EventStore) -> None:
        """P1: by it a reader sees that the log is still the one it read so far."""
        for _ in range(3):
            await store.append(to(stream(), event()))
        ids = [b"", *[each.event_id for each in await everything(store)], b""]
        for types in (None, frozenset({"Happened"}), frozenset({"Never"})):
            assert [(await store.read_log(after=after, types=types)).before for after in range(5)] == ids

    async def test_reading_past_the_head_gives_nothing(self, store: EventStore) -> None:
        """L2"""
        await store.append(to(stream(), event()))
        for types in (None, frozenset({"Happened"})):
            page = await store.read_log(after=9, types=types)
            assert (page.scanned, list(page.events), page.head.position) == (9, [], 1)

    @pytest.mark.parametrize("types", [None, frozenset({"Large"})], ids=["all", "filtered"])
    async def test_a_page_is_bounded_in_bytes(self, store: EventStore, types: frozenset[str] | None) -> None:
        """P8"""
        for _ in range(3):
            await store.append(to(stream(), *[event("Large", text="x" * 240_000) for _ in range(10)]))
        after, positions, pages = 0, [], 0
        while (page := await store.read_log(after=after, types=types)).events:
            assert sum(len(each.payload) for each in page.events) < 4.5e6
            positions.extend([each.position for each in page.events])
            after, pages = page.scanned, pages + 1
        assert positions == list(range(1, 31))
        assert pages > 1

    async def test_pages_of_slices_share_the_log_among_them(self, store: EventStore) -> None:
        """P4: each event is in one of them, whatever the limit; each page ends at or before the head."""
        for _ in range(20):
            await store.append(to(stream(), event(), event(), event()))
        shares: list[StoredEvent] = []
        for slices in (range(300), range(300, 301), range(301, 1024)):
            for limit in (4, 100):
                after, found = 0, list[StoredEvent]()
                while (page := await store.read_slices(after=after, slices=slices, limit=limit)).scanned > after:
                    assert len(page.events) <= limit
                    assert all(after < each.position <= page.scanned <= 60 for each in page.events)
                    assert (page.after, page.head.position, page.last.position) == (after, 60, page.scanned)
                    found.extend(page.events)
                    after = page.scanned
                assert after == 60
                assert all(each.stream.slice in slices for each in found)
            shares.extend(found)
        assert sorted(shares, key=attrgetter("position")) == list(await everything(store))

    async def test_streams_that_share_an_id_are_in_one_slice(self, store: EventStore) -> None:
        """P1: an isolated projection keeps one row for all of them."""
        name = stream()
        for each in (name, name._replace(category="Basket"), name._replace(tenant="acme")):
            await store.append(to(each, event()))
        page = await store.read_slices(after=0, slices=range(name.slice, name.slice + 1))
        assert [each.position for each in page.events] == [1, 2, 3]

    async def test_a_page_of_slices_says_what_is_at_its_end_and_before_it(self, store: EventStore) -> None:
        """P1: by them a checkpoint is made, though the event there is in another slice."""
        first = stream()
        for name in (first, *[each for each in (stream() for _ in range(20)) if each.slice != first.slice][:3]):
            await store.append(to(name, event()))
        events, mine = list(await everything(store)), range(first.slice, first.slice + 1)
        page = await store.read_slices(after=0, slices=mine)
        last = events[3]
        assert (list(page.events), page.before) == (events[:1], b"")
        assert page.last == page.head == Head(4, last.event_id, last.recorded_at)
        rest = await store.read_slices(after=2, slices=mine)
        assert (list(rest.events), rest.scanned, rest.before) == ([], 4, events[1].event_id)
        full = await store.read_slices(after=0, slices=mine, limit=1)
        assert full.last.event_id == events[full.scanned - 1].event_id

    async def test_reading_slices_past_the_head_gives_nothing(self, store: EventStore) -> None:
        """L2"""
        await store.append(to(stream(), event()))
        for after in (1, 9):
            page = await store.read_slices(after=after, slices=range(1024))
            assert (page.scanned, list(page.events), page.head.position) == (after, [], 1)

    async def test_a_page_of_slices_is_bounded_in_bytes(self, store: EventStore) -> None:
        """P8"""
        name = stream()
        for _ in range(3):
            await store.append(to(name, *[event("Large", text="x" * 240_000) for _ in range(10)]))
        after, sizes = 0, list[int]()
        while (page := await store.read_slices(after=after, slices=range(name.slice, 1024))).events:
            assert sum(len(each.payload) for each in page.events) < 4.5e6
            sizes.append(len(page.events))
            after = page.scanned
        assert (sum(sizes), len(sizes) > 1) == (30, True)

    async def test_what_a_reader_has_seen_stays_as_it_is(self, store: EventStore) -> None:
        """L5: no event appears later at a position at or before one that was seen."""

        async def write() -> None:
            for _ in range(40):
                await store.append(to(stream(), event(), event()))

        seen: list[StoredEvent] = []
        writers = [asyncio.create_task(write()) for _ in range(4)]
        while len(seen) < 320:
            page = await store.read_log(after=seen[-1].position if seen else 0)
            seen.extend(page.events)
            await asyncio.sleep(0)
        await asyncio.gather(*writers)
        assert [each.position for each in seen] == list(range(1, 321))
        assert list(await everything(store)) == seen

    async def test_events_that_were_read_are_the_readers_own(self, store: EventStore) -> None:
        """L8: they do not change when the stream grows."""
        name = stream()
        await store.append(to(name, event()))
        read, page = await store.read_stream(name), await store.read_log(after=0)
        await store.append(to(name, event()))
        assert (len(read), len(page.events)) == (1, 1)
