"""The contract of what can never be stored, and of waiting for the log to grow."""

import asyncio
import time
from typing import Any

import pytest

from diptych.clock import new_id
from diptych.errors import InvalidInputError, ProgrammingError
from diptych.events.recorded import NewEvent
from diptych.store.protocols import Append, CommandKey, CommandRecord, EventStore, StreamWrite
from diptych.stream import ANY, StreamName
from diptych.testing.contracts.events_samples import EventStoreHarness, event, everything, key, record, stream, to

_ID = event().event_id
_PLAIN = NewEvent(_ID, "T", 1, "{}")


def _payload(text: str) -> Append:
    return to(stream(), NewEvent(_ID, "T", 1, text))


HOSTILE = {
    "a NUL": _payload('"\0"'),
    "an escaped NUL": _payload('"a\\u0000"'),
    "an escaped NUL after an escaped backslash": _payload('"\\\\\\u0000"'),
    "a control character": _payload('"\x1f"'),
    "half a surrogate pair": _payload('"\ud800"'),
    "257 KB": _payload('"' + "x" * 257 * 1024 + '"'),
    "129 K characters of two bytes": _payload('"' + "ü" * 129 * 1024 + '"'),
    "1001 events": to(stream(), *[event() for _ in range(1001)]),
    "an empty type": to(stream(), _PLAIN._replace(type="")),
    "a type with NUL": to(stream(), _PLAIN._replace(type="T\0")),
    "a category of a megabyte": to(StreamName("", "x" * 1_000_000, new_id()), _PLAIN),
    "a category with NUL": to(StreamName("", "a\0b", new_id()), _PLAIN),
    "no category": to(StreamName("", "", new_id()), _PLAIN),
    "half a surrogate pair as tenant": to(StreamName("\ud800", "a", new_id()), _PLAIN),
    "a NUL in metadata": Append([StreamWrite(stream(), ANY, [_PLAIN])], metadata="{\0}"),
    "a result of a megabyte": Append([], command=record(key(), "x" * 1_000_000)),
    "a user with NUL": Append([], command=record(key(user="a\0"))),
    "a user of a megabyte": Append([], command=record(key(user="a" * 1_000_000))),
    "a command type with a line break": Append([], command=CommandRecord(CommandKey("", "", "A\n", new_id()), b"", "")),
}


class LimitsContract(EventStoreHarness):
    """What no store could keep is refused before it is queued, by all stores alike (I1)."""

    @pytest.mark.parametrize("append", HOSTILE.values(), ids=HOSTILE.keys())
    async def test_what_can_never_be_stored_is_refused(self, store: EventStore, append: Append) -> None:
        """I1"""
        with pytest.raises(InvalidInputError):
            await store.append(append)
        assert (await store.head()).position == 0

    @pytest.mark.parametrize("text", ['"\\\\u0000"', '"' + "x" * 255 * 1024 + '"', '"\\u001f"', '"\U0001f600"'])
    async def test_what_only_looks_hostile_is_stored(self, store: EventStore, text: str) -> None:
        """I1"""
        await store.append(_payload(text))
        assert [each.payload for each in await everything(store)] == [text]

    @pytest.mark.parametrize("spoilt", [{"event_id": b"short"}, {"schema_version": -1}, {"format": 2**40}])
    async def test_an_event_that_would_spoil_its_neighbours_is_refused_alone(
        self, store: EventStore, spoilt: dict[str, Any]
    ) -> None:
        """L7"""
        bad = store.append(to(stream(), event()._replace(**spoilt)))
        good = [store.append(to(stream(), event())) for _ in range(3)]
        outcomes = await asyncio.gather(bad, *good, return_exceptions=True)
        assert [isinstance(each, ProgrammingError) for each in outcomes] == [True, False, False, False]
        assert len(await everything(store)) == 3

    async def test_a_thousand_events_are_one_append(self, store: EventStore) -> None:
        """I1"""
        name = stream()
        appended = await store.append(to(name, *[event() for _ in range(1000)]))
        assert (appended.position, list(appended.versions)) == (1000, [1000])


class WaitContract(EventStoreHarness):
    """Waiting is a hint: it may return early, it never returns much too late."""

    async def test_who_waits_for_what_is_there_does_not_wait(self, store: EventStore) -> None:
        """P6"""
        await store.append(to(stream(), event()))
        async with asyncio.timeout(5):
            await store.wait(0, 60)

    async def test_who_waits_is_woken_by_an_append(self, store: EventStore) -> None:
        """P6"""
        waiters = [asyncio.create_task(store.wait(0, 60)) for _ in range(5)]
        await asyncio.sleep(0.01)
        await store.append(to(stream(), event()))
        async with asyncio.timeout(5):
            await asyncio.gather(*waiters)
        assert (await store.head()).position == 1

    async def test_waiting_ends(self, store: EventStore) -> None:
        """P6"""
        began = time.monotonic()
        async with asyncio.timeout(5):
            await store.wait(0, 0.05)
        assert time.monotonic() - began < 5

    async def test_a_waiter_may_be_cancelled(self, store: EventStore) -> None:
        """P6"""
        waiter = asyncio.create_task(store.wait(0, 60))
        await asyncio.sleep(0.01)
        waiter.cancel()
        await asyncio.wait([waiter])
        await store.append(to(stream(), event()))
        assert (await store.head()).position == 1
