"""The contract of appending: positions, versions, guards, all or nothing."""

import pytest

from diptych.errors import ProgrammingError, WrongExpectedVersionError
from diptych.events.recorded import NewEvent, is_intact
from diptych.store.protocols import Append, EventStore, Head, StreamWrite
from diptych.stream import ANY, NO_STREAM, STREAM_EXISTS, Expected
from diptych.testing.contracts.events_samples import EventStoreHarness, event, everything, stream, to


class AppendContract(EventStoreHarness):
    """An append writes all or nothing, at the end of the log, directly after what its writer expected."""

    async def test_positions_are_counted_from_one_without_a_gap(self, store: EventStore) -> None:
        """L2"""
        for count in (1, 3, 2):
            await store.append(to(stream(), *[event() for _ in range(count)]))
        assert [each.position for each in await everything(store)] == [1, 2, 3, 4, 5, 6]

    async def test_versions_are_counted_from_one_in_each_stream(self, store: EventStore) -> None:
        """L3"""
        first, second = stream(), stream()
        for name in (first, second, first):
            await store.append(to(name, event(), event()))
        assert [each.version for each in await store.read_stream(first)] == [1, 2, 3, 4]
        assert [each.version for each in await store.read_stream(second)] == [1, 2]

    async def test_the_answer_names_the_last_event_and_the_new_versions(self, store: EventStore) -> None:
        """L1: what is answered is what is stored."""
        first, second, last = stream(), stream(), event()
        await store.append(to(first, event()))
        appended = await store.append(
            Append([StreamWrite(first, 1, [event(), event()]), StreamWrite(second, NO_STREAM, [last])])
        )
        stored = (await everything(store))[-1]
        assert (appended.position, appended.event_id, appended.recorded_at) == (4, last.event_id, stored.recorded_at)
        assert list(appended.versions) == [3, 1]
        assert stored.event_id == last.event_id
        assert await store.head() == Head(4, last.event_id, stored.recorded_at)

    async def test_an_event_is_stored_byte_for_byte(self, store: EventStore) -> None:
        """L8: no rewriting of numbers, order of keys or white space."""
        payload = '{"z": 1.10,  "a":12345678901234567890.5, "é": "日本 \\" \\\\u0000"}'
        written = NewEvent(event().event_id, "Order Placed/ü", 7, payload, 3)
        name = stream("ordering 'quoted' \"names\" ../..", tenant="acme")
        append = to(name, written)._replace(metadata='{"user": "ada"}')
        await store.append(append)
        (stored,) = await store.read_stream(name)
        assert stored[:11] == (
            1,
            "acme",
            name.category,
            str(name.id),
            1,
            written[0],
            *written[1:3],
            3,
            payload,
            '{"user": "ada"}',
        )
        assert stored.stream == name
        assert is_intact(stored)

    async def test_time_never_goes_back(self, store: EventStore) -> None:
        """L4"""
        for _ in range(20):
            await store.append(to(stream(), event()))
        times = [each.recorded_at for each in await everything(store)]
        assert times == sorted(times)

    @pytest.mark.parametrize(
        ("before", "expected"), [(0, NO_STREAM), (0, 0), (0, ANY), (2, 2), (2, ANY), (2, STREAM_EXISTS)], ids=str
    )
    async def test_an_append_that_expects_the_truth_is_stored(
        self, store: EventStore, before: int, expected: Expected
    ) -> None:
        """L6"""
        name = stream()
        await store.append(to(name, *[event() for _ in range(before)]))
        await store.append(to(name, event(), expected=expected))
        assert len(await store.read_stream(name)) == before + 1

    @pytest.mark.parametrize(
        ("before", "expected"), [(0, 1), (0, STREAM_EXISTS), (2, NO_STREAM), (2, 0), (2, 1), (2, 3)], ids=str
    )
    async def test_an_append_that_expects_something_else_is_refused(
        self, store: EventStore, before: int, expected: Expected
    ) -> None:
        """L6"""
        name = stream()
        await store.append(to(name, *[event() for _ in range(before)]))
        with pytest.raises(WrongExpectedVersionError) as refused:
            await store.append(to(name, event(), expected=expected))
        assert (refused.value.stream, refused.value.expected, refused.value.actual) == (name, expected, before)
        assert len(await store.read_stream(name)) == before

    async def test_one_stale_stream_refuses_the_whole_append(self, store: EventStore) -> None:
        """L7"""
        fresh, stale = stream(), stream()
        await store.append(to(stale, event()))
        with pytest.raises(WrongExpectedVersionError):
            await store.append(
                Append([StreamWrite(fresh, NO_STREAM, [event()]), StreamWrite(stale, NO_STREAM, [event()])])
            )
        assert list(await store.read_stream(fresh)) == []
        appended = await store.append(to(fresh, event(), expected=NO_STREAM))
        assert appended.position == 2

    async def test_a_stream_can_be_guarded_without_being_written(self, store: EventStore) -> None:
        """L7"""
        watched, written = stream(), stream()
        await store.append(to(watched, event()))
        guarded = Append([StreamWrite(watched, 1), StreamWrite(written, NO_STREAM, [event()])])
        assert list((await store.append(guarded)).versions) == [1]
        assert len(await store.read_stream(watched)) == 1
        with pytest.raises(WrongExpectedVersionError):
            await store.append(Append([StreamWrite(watched, 2), StreamWrite(written, 1, [event()])]))
        assert len(await store.read_stream(written)) == 1

    async def test_an_append_of_nothing_answers_with_the_head(self, store: EventStore) -> None:
        """L2"""
        assert (await store.append(Append([]))).position == 0
        appended = await store.append(to(stream(), event()))
        nothing = await store.append(Append([]))
        assert (nothing.position, nothing.event_id, list(nothing.versions)) == (1, appended.event_id, [])

    async def test_a_stream_named_twice_is_refused(self, store: EventStore) -> None:
        """L7: which of the two expectations would count?"""
        name = stream()
        with pytest.raises(ProgrammingError, match="twice"):
            await store.append(Append([StreamWrite(name, ANY, [event()]), StreamWrite(name, ANY, [event()])]))
        assert (await store.head()).position == 0

    async def test_tenants_do_not_share_streams(self, store: EventStore) -> None:
        """L3"""
        mine = stream(tenant="mine")
        theirs = mine._replace(tenant="theirs")
        await store.append(to(mine, event(), event()))
        await store.append(to(theirs, event(), expected=NO_STREAM))
        assert [each.version for each in await store.read_stream(theirs)] == [1]
