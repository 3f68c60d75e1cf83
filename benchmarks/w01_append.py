"""W1: one client, one event per append, version checked. The event is encoded within the time taken."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import raw, shop
from benchmarks.generator import log, order_ids
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload, percentile
from diptych import App
from diptych.store.protocols import Append, StreamWrite

_STREAMS = 50


def _count(scale: Scale) -> int:
    return scale.of(20, 600, 2000)


@asynccontextmanager
async def diptych(folder: Path, scale: Scale) -> AsyncIterator[Measure]:
    """`EventStore.append` with the codec."""
    events = [shop.event(fact) for fact in log(_count(scale))]
    streams = [shop.stream(order_id) for order_id in order_ids(_STREAMS)]
    versions = [0] * _STREAMS
    async with App(f"sqlite:///{folder}/shop.db") as app:
        store, encode = app.events, app.codec.encode

        async def measure() -> Figures:
            taken = []
            for number, event in enumerate(events):
                place = number % _STREAMS
                begun = time.perf_counter()
                await store.append(Append([StreamWrite(streams[place], versions[place], [encode(event)])]))
                taken.append(time.perf_counter() - begun)
                versions[place] += 1
            return {"p50": percentile(taken, 0.5) * 1000}

        yield measure


@asynccontextmanager
async def twin(folder: Path, scale: Scale) -> AsyncIterator[Measure]:
    """The raw twin through its writer thread."""
    events = [raw.event(fact) for fact in log(_count(scale))]
    streams = [order_id.bytes for order_id in order_ids(_STREAMS)]
    versions = [0] * _STREAMS
    store = raw.RawStore(folder / "raw.db")

    async def measure() -> Figures:
        taken = []
        for number, event in enumerate(events):
            place = number % _STREAMS
            begun = time.perf_counter()
            await store.append(streams[place], versions[place], [raw.encode(event)])
            taken.append(time.perf_counter() - begun)
            versions[place] += 1
        return {"p50": percentile(taken, 0.5) * 1000}

    yield measure
    await store.close()


WORKLOADS = (Workload("W1", "one client, one event per append", (Goal("p50", "ms", 1.8),), diptych, twin),)
