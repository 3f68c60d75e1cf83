"""W1: one client, one event per append, version checked. The event is encoded within the time taken."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks import raw, shop
from benchmarks.generator import log, order_ids
from benchmarks.place import Place, raw_store
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload, percentile
from diptych import App
from diptych.store.protocols import Append, StreamWrite

_STREAMS = 50


def _count(scale: Scale) -> int:
    return scale.of(20, 600, 2000)


@asynccontextmanager
async def diptych(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """`EventStore.append` with the codec."""
    events = [shop.event(fact) for fact in log(_count(scale))]
    streams = [shop.stream(order_id) for order_id in order_ids(_STREAMS)]
    versions = [0] * _STREAMS
    async with App(place.url) as app:
        store, encode = app.events, app.codec.encode

        async def measure() -> Figures:
            taken = []
            for number, event in enumerate(events):
                which = number % _STREAMS
                begun = time.perf_counter()
                await store.append(Append([StreamWrite(streams[which], versions[which], [encode(event)])]))
                taken.append(time.perf_counter() - begun)
                versions[which] += 1
            return {"p50": percentile(taken, 0.5) * 1000}

        yield measure


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """The raw twin."""
    events = [raw.event(fact) for fact in log(_count(scale))]
    versions = [0] * _STREAMS
    async with raw_store(place) as store:
        streams = [store.key(order_id) for order_id in order_ids(_STREAMS)]

        async def measure() -> Figures:
            taken = []
            for number, event in enumerate(events):
                which = number % _STREAMS
                begun = time.perf_counter()
                await store.append(streams[which], versions[which], [raw.encode(event)])
                taken.append(time.perf_counter() - begun)
                versions[which] += 1
            return {"p50": percentile(taken, 0.5) * 1000}

        yield measure


WORKLOADS = (
    Workload(
        "W1",
        "one client, one event per append",
        (Goal("p50", "ms", {"sqlite": 1.8, "postgresql": 1.5}),),
        diptych,
        twin,
    ),
)
