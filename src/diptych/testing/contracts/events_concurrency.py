"""The contract of appending at the same time: one winner, one order, nobody hurt by a neighbour."""

import asyncio

import pytest

from diptych.errors import WrongExpectedVersionError
from diptych.store.protocols import Append, Appended, EventStore, StreamWrite
from diptych.stream import ANY, NO_STREAM
from diptych.testing.contracts.events_samples import EventStoreHarness, event, everything, stream, to

_ANY = (ANY, ANY)


class ConcurrencyContract(EventStoreHarness):
    """However many append at once, the log is as if they had come one after the other."""

    async def test_of_many_who_expect_the_same_version_one_wins(self, store: EventStore) -> None:
        """L6"""
        name = stream()
        for version in range(3):
            answers = await asyncio.gather(
                *[store.append(to(name, event(), expected=version)) for _ in range(20)], return_exceptions=True
            )
            assert sum(isinstance(answer, Appended) for answer in answers) == 1
            assert sum(isinstance(answer, WrongExpectedVersionError) for answer in answers) == 19
        assert [each.version for each in await store.read_stream(name)] == [1, 2, 3]

    async def test_a_conflict_is_only_given_when_somebody_won(self, store: EventStore) -> None:
        """L6"""
        streams = [stream() for _ in range(50)]
        await asyncio.gather(*[store.append(to(name, event(), expected=NO_STREAM)) for name in streams])
        assert [len(await store.read_stream(name)) for name in streams] == [1] * 50

    async def test_many_writers_leave_no_gap(self, store: EventStore) -> None:
        """L2, L3"""
        streams = [stream() for _ in range(8)]

        async def write(number: int) -> None:
            for turn in range(10):
                await store.append(to(streams[(number + turn) % 8], *[event() for _ in range(1 + turn % 3)]))

        await asyncio.gather(*[write(number) for number in range(16)])
        log = await everything(store)
        assert [each.position for each in log] == list(range(1, 16 * 19 + 1))
        for name in streams:
            versions = [each.version for each in log if each.stream == name]
            assert versions == list(range(1, len(versions) + 1))

    async def test_an_append_says_how_many_went_to_disk_with_it(self, store: EventStore) -> None:
        appended = await asyncio.gather(*[store.append(to(stream(), event())) for _ in range(20)])
        assert all(1 <= each.together <= 20 for each in appended)
        assert (await store.append(to(stream(), event()))).together == 1

    async def test_an_append_acknowledged_before_another_began_comes_first(self, store: EventStore) -> None:
        """L4"""
        acknowledged = 0

        async def write() -> None:
            nonlocal acknowledged
            for _ in range(15):
                before = acknowledged
                appended = await store.append(to(stream(), event(), event()))
                assert appended.position - 1 > before
                acknowledged = max(acknowledged, appended.position)

        await asyncio.gather(*[write() for _ in range(8)])
        assert acknowledged == 240

    async def test_the_events_of_one_append_stand_together(self, store: EventStore) -> None:
        """L7"""
        appended = await asyncio.gather(*[store.append(to(stream(), event(), event(), event())) for _ in range(30)])
        log = await everything(store)
        for one in appended:
            together = log[one.position - 3 : one.position]
            assert [each.version for each in together] == [1, 2, 3]
            assert len({each.stream_id for each in together}) == 1

    async def test_a_refused_append_takes_no_neighbour_with_it(self, store: EventStore) -> None:
        """L7"""
        taken = stream()
        await store.append(to(taken, event()))
        appends = [to(stream(), event()) if turn % 2 else to(taken, event(), expected=7) for turn in range(20)]
        answers = await asyncio.gather(*[store.append(each) for each in appends], return_exceptions=True)
        assert [isinstance(answer, Appended) for answer in answers] == [bool(turn % 2) for turn in range(20)]
        assert [each.position for each in await everything(store)] == list(range(1, 12))

    async def test_appends_to_one_stream_at_once_are_all_stored(self, store: EventStore) -> None:
        """L3"""
        name = stream()
        await asyncio.gather(*[store.append(to(name, event(number=number))) for number in range(30)])
        assert [each.version for each in await store.read_stream(name)] == list(range(1, 31))

    async def test_appends_over_crossing_streams_never_wait_for_each_other_forever(self, store: EventStore) -> None:
        """L7"""
        first, second = stream(), stream()

        def both(one: int) -> Append:
            names = (first, second) if one % 2 else (second, first)
            return Append([StreamWrite(name, expected, [event()]) for name, expected in zip(names, _ANY, strict=True)])

        async with asyncio.timeout(10):
            await asyncio.gather(*[store.append(both(number)) for number in range(20)])
        assert len(await store.read_stream(first)) == len(await store.read_stream(second)) == 20

    async def test_streams_read_at_once_are_read_as_each_alone(self, store: EventStore) -> None:
        """L1: and whoever reads after its own append sees it, whatever others read in the same moment."""

        async def grow(events: int) -> None:
            name = stream()
            for count in range(1, events + 1):
                await store.append(to(name, event(number=count)))
                rows = await store.read_stream(name)
                assert [row.version for row in rows] == list(range(1, count + 1))
                assert {row.stream for row in rows} == {name}
                assert [row.version for row in await store.read_stream(name, first=count)] == [count]

        await asyncio.gather(*[grow(events) for events in range(1, 20)])

    async def test_a_cancelled_caller_leaves_all_or_nothing(self, store: EventStore) -> None:
        """L7: and the store goes on."""
        names = [stream() for _ in range(20)]
        callers = [asyncio.create_task(store.append(to(name, event(), event()))) for name in names]
        await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        await store.append(to(stream(), event()))
        assert {len(await store.read_stream(name)) for name in names} <= {0, 2}
        assert [each.position for each in await everything(store)] == list(range(1, (await store.head()).position + 1))

    async def test_a_refusal_is_the_callers_own(self, store: EventStore) -> None:
        """L6: one exception shared by several tasks would mix their tracebacks."""
        name = stream()
        await store.append(to(name, event()))
        answers = await asyncio.gather(
            *[store.append(to(name, event(), expected=NO_STREAM)) for _ in range(5)], return_exceptions=True
        )
        assert len({id(answer) for answer in answers}) == 5
        with pytest.raises(WrongExpectedVersionError):
            await store.append(to(name, event(), expected=NO_STREAM))
