"""W10: the p99 of appends while a projection rebuilds at full speed in a child process, and while none does."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from benchmarks import shop
from benchmarks.children import child
from benchmarks.generator import CREATED, log
from benchmarks.place import Place
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload, percentile
from diptych import App
from diptych.store.protocols import Append, StreamWrite

_SEEDS = random.Random(41)


async def appends(app: App, scale: Scale) -> Figures:
    """Append the first event of new orders, one by one: a projection may apply them."""
    events = [shop.event(fact) for fact in log(scale.of(200, 8_000, 20_000), seed=43) if fact.name == CREATED]
    taken = []
    for event in events:
        stream = shop.stream(UUID(int=_SEEDS.getrandbits(128), version=4))
        begun = time.perf_counter()
        await app.events.append(Append([StreamWrite(stream, 0, [app.codec.encode(event)])]))
        taken.append(time.perf_counter() - begun)
    return {"p99": percentile(taken, 0.99) * 1000, "p50": percentile(taken, 0.5) * 1000}


@asynccontextmanager
async def rebuilding(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """With a child that rebuilds over the same log."""
    await shop.fill(place.url, log(scale.of(500, 20_000, 100_000)))

    async def measure() -> Figures:
        async with App(place.url) as app, child("benchmarks.rebuilder", place.url):
            await asyncio.sleep(scale.of(0, 1, 1))  # until the child reads
            return await appends(app, scale)

    yield measure


@asynccontextmanager
async def idle(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """With nothing beside it."""
    await shop.fill(place.url, log(scale.of(500, 20_000, 100_000)))

    async def measure() -> Figures:
        async with App(place.url) as app:
            return await appends(app, scale)

    yield measure


WORKLOADS = (
    Workload(
        "W10",
        "append while a projection rebuilds",
        (Goal("p99", "ms", 3), Goal("p50", "ms")),
        rebuilding,
        idle,
        versus="idle",
    ),
)
