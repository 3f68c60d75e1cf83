"""growth: an append, a load, a polled event and the memory of a catch-up, in a large log beside a small one."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from benchmarks import shop
from benchmarks.children import child, heard
from benchmarks.generator import EVENTS_PER_ORDER, order, order_ids
from benchmarks.place import Place
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload, percentile
from diptych import App
from diptych.clock import new_id_bytes
from diptych.store.protocols import Append, StreamWrite

_SMALL = 10_000
_FLAT = 1.5  # a B-tree a thousand times as large is two levels deeper
_SEEDS = random.Random(53)


async def _fill(place: Place, events: int) -> list[UUID]:
    """Write many orders of ten events; their fields are the same, for encoding is not what is measured."""
    ids = order_ids(events // EVENTS_PER_ORDER, seed=51)
    async with App(shop.without_waiting(place.url)) as app:
        template = [app.codec.encode(shop.event(fact)) for fact in order(ids[0], random.Random(52), ends=False)]
        for start in range(0, len(ids), 100):
            writes = [
                StreamWrite(shop.stream(id), 0, [event._replace(event_id=new_id_bytes()) for event in template])
                for id in ids[start : start + 100]
            ]
            await app.events.append(Append(writes))
    return ids


async def _appended(app: App, count: int) -> float:
    """Append ten events to a new stream; return microseconds per event."""
    template = [app.codec.encode(shop.event(fact)) for fact in order(new_id_stream(), random.Random(52), ends=False)]
    taken = []
    for _ in range(count):
        stream = shop.stream(new_id_stream())
        events = [event._replace(event_id=new_id_bytes()) for event in template]
        begun = time.perf_counter()
        await app.events.append(Append([StreamWrite(stream, 0, events)]))
        taken.append(time.perf_counter() - begun)
    return percentile(taken, 0.5) / len(template) * 1e6


def new_id_stream() -> UUID:
    """A random id, so that streams are found anywhere in an index."""
    return UUID(int=_SEEDS.getrandbits(128), version=4)


async def _loaded(app: App, ids: list[UUID]) -> float:
    """Load orders of ten events, all over the log; return microseconds per load."""
    taken = []
    for order_id in ids:
        command = shop.CountItems(order_id=order_id)
        begun = time.perf_counter()
        await app.commands.dispatch(command)
        taken.append(time.perf_counter() - begun)
    return percentile(taken, 0.5) * 1e6


async def _polled(app: App, events: int, pages: int) -> float:
    """Read pages of the log, all over it; return microseconds per event."""
    taken = []
    for _ in range(pages):
        begun = time.perf_counter()
        page = await app.events.read_log(after=_SEEDS.randrange(max(1, events - 1000)), limit=1000)
        taken.append((time.perf_counter() - begun) / len(page.events))
    return percentile(taken, 0.5) * 1e6


@asynccontextmanager
async def _grown(place: Place, scale: Scale, events: int) -> AsyncIterator[Measure]:
    ids = await _fill(place, events)
    async with child("benchmarks.catcher", place.url) as process:
        memory = float(await heard(process))

    async def measure() -> Figures:
        async with shop.shop(place.url, projects=False) as app:
            chosen = _SEEDS.sample(ids, min(len(ids), 200))
            return {
                "append": await _appended(app, scale.of(5, 100, 200)),
                "load": await _loaded(app, chosen),
                "poll": await _polled(app, events, 20),
                "memory": memory,
            }

    yield measure


@asynccontextmanager
async def large(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """A log of up to ten million events, by scale."""
    async with _grown(place, scale, scale.of(2000, 40_000, 1_000_000, 10_000_000)) as measure:
        yield measure


@asynccontextmanager
async def small(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """A log of ten thousand events."""
    async with _grown(place, scale, scale.of(1000, _SMALL, _SMALL)) as measure:
        yield measure


WORKLOADS = (
    Workload(
        "growth",
        "a large log beside one of 10,000 events",
        (
            Goal("append", "us per event", _FLAT),
            Goal("load", "us", _FLAT),
            Goal("poll", "us per event", _FLAT),
            Goal("memory", "MB at most", 2),  # SQLite's page caches fill: 40 MB, whatever the log
        ),
        large,
        small,
        versus="small log",
    ),
)
