"""The memory store beside what all stores promise: when it is open, and its inline rows."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from diptych.clock import FixedClock
from diptych.errors import ConfigurationError, StoreUnavailableError
from diptych.events.recorded import StoredEvent
from diptych.store.memory import MemoryEventStore
from diptych.store.opening import open_stores
from diptych.store.protocols import Append, Appended, StoreSettings
from diptych.store.sqlite.views import temporary_view_store
from diptych.testing.contracts.events_samples import event, everything, key, record, stream, to
from diptych.testing.contracts.view_rows import TALLIES

pytestmark = pytest.mark.anyio


class TickingClock:
    """A clock that never says the same time twice."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


class Seeing:
    """An inline projection that remembers what it was given."""

    name = TALLIES.name

    def __init__(self) -> None:
        self.seen: list[StoredEvent] = []

    def loads(self, events: Sequence[StoredEvent]) -> Sequence[Any]:
        return []

    def fold(self, events: Sequence[StoredEvent], rows: Any) -> Sequence[Any]:
        self.seen.extend(events)
        return []

    def script(self, events: Sequence[StoredEvent]) -> None:
        return None


async def test_an_inline_projection_sees_the_events_as_they_are_stored_p3() -> None:
    """Their times too: a row made of another time would differ after a rebuild."""
    settings = StoreSettings()
    inline = temporary_view_store(settings)
    store, fold = MemoryEventStore(settings, inline=inline, clock=TickingClock()), Seeing()
    await store.open()
    await inline.open([TALLIES], store_id=store.store_id)
    for _ in range(3):
        append = to(stream(), event(), event())
        await store.append(Append(append.writes, inline=[fold]))
    assert fold.seen == await everything(store)
    await store.close()


async def test_a_store_that_is_not_open_says_so() -> None:
    store = MemoryEventStore()
    with pytest.raises(StoreUnavailableError, match="is not open"):
        await store.head()
    await store.open()
    await store.append(to(stream(), event()))
    await store.close()
    with pytest.raises(StoreUnavailableError, match="is not open"):
        await store.append(to(stream(), event()))
    await store.open()
    assert (await store.head()).position == 1


READS: dict[str, Callable[[MemoryEventStore], Awaitable[object]]] = {
    "head": lambda store: store.head(),
    "stream": lambda store: store.read_stream(stream()),
    "streams of an id": lambda store: store.streams_of(stream().id),
    "log": lambda store: store.read_log(after=0),
    "slices": lambda store: store.read_slices(after=0, slices=range(9)),
    "command": lambda store: store.find_command(key()),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
async def test_nothing_is_read_of_a_store_that_is_not_open(
    read: Callable[[MemoryEventStore], Awaitable[object]],
) -> None:
    with pytest.raises(StoreUnavailableError, match="is not open"):
        await read(MemoryEventStore())


async def test_who_waits_for_the_next_event_waits_until_it_is_there() -> None:
    store = MemoryEventStore()
    await store.open()
    waiting = asyncio.create_task(store.wait(0, 3600.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    await store.append(to(stream(), event()))
    async with asyncio.timeout(10):
        await waiting


def test_without_a_place_for_rows_it_says_how_to_get_one() -> None:
    with pytest.raises(ConfigurationError, match="open_stores"):
        _ = MemoryEventStore().inline


async def test_closing_closes_its_rows_too() -> None:
    stores = open_stores("memory:")
    await stores.events.open()
    await stores.events.inline.open([TALLIES], store_id=stores.events.store_id)
    await stores.events.close()
    with pytest.raises(StoreUnavailableError):
        await stores.events.inline.places("tallies")


class Waiting(Seeing):
    """One that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def fold(self, events: Sequence[StoredEvent], rows: Any) -> Sequence[Any]:
        self.begun.set()
        self.goes_on.wait(10)
        return super().fold(events, rows)


@asynccontextmanager
async def folding() -> AsyncIterator[tuple[MemoryEventStore, Waiting, "asyncio.Task[Appended]"]]:
    """A store in which an append with inline rows is under way."""
    settings, fold = StoreSettings(), Waiting()
    inline = temporary_view_store(settings)
    store = MemoryEventStore(settings, inline=inline)
    await store.open()
    await inline.open([TALLIES], store_id=store.store_id)
    first = asyncio.create_task(store.append(Append(to(stream(), event(), event()).writes, inline=[fold])))
    await asyncio.to_thread(fold.begun.wait, 10)
    yield store, fold, first
    await store.close()


async def test_an_append_waits_for_one_whose_rows_are_being_folded() -> None:
    """L2, L4: though it has no inline rows itself."""
    async with folding() as (store, fold, first):
        second = asyncio.create_task(store.append(to(stream(), event())))
        await asyncio.sleep(0)
        fold.goes_on.set()
        assert ((await first).position, (await second).position) == (2, 3)
        rows = await everything(store)
        assert [row.position for row in rows] == [1, 2, 3]
        assert fold.seen == rows[:2]


async def test_an_append_that_waits_while_the_store_is_closed_is_refused() -> None:
    async with folding() as (store, fold, first):
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        second = asyncio.create_task(store.append(to(stream(), event())))
        await asyncio.sleep(0)
        fold.goes_on.set()
        await first
        with pytest.raises(StoreUnavailableError, match="is not open"):
            await second
        await closing
        await store.open()
        assert (await store.head()).position == 2


async def test_command_ids_are_forgotten_after_their_window() -> None:
    """C4: the next command that comes after that finds the id free, and no other is forgotten before."""
    clock, (old, young) = FixedClock(), (key(), key())
    store = MemoryEventStore(StoreSettings(command_window_days=30), clock=clock)
    await store.open()
    await store.append(Append([], command=record(old)))
    clock.advance(timedelta(days=30))
    await store.append(Append([], command=record(young)))
    assert await store.find_command(old) is not None
    clock.advance(timedelta(microseconds=1))
    await store.append(Append([], command=record(key())))
    assert await store.find_command(old) is None
    assert await store.find_command(young) is not None
