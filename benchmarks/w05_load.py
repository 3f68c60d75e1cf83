"""W5: load an aggregate of 1,000 events that was not seen before."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks import shop
from benchmarks.generator import Fact, order, order_ids
from benchmarks.place import Place, raw_store
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload, percentile

_EVENTS = 1000
_ORDERS = order_ids(10, seed=11)


def _facts() -> list[Fact]:
    source = random.Random(12)
    return [fact for order_id in _ORDERS for fact in order(order_id, source, _EVENTS, ends=False)]


@asynccontextmanager
async def diptych(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """A command that only loads. Each round has a new app, so that its cache of aggregates is empty."""
    await shop.fill(place.url, _facts(), size=1000)

    async def measure() -> Figures:
        taken = []
        async with shop.shop(place.url, projects=False) as app:
            for order_id in _ORDERS:
                command = shop.CountItems(order_id=order_id)
                begun = time.perf_counter()
                receipt = await app.commands.dispatch(command)
                taken.append(time.perf_counter() - begun)
                assert receipt.result == _EVENTS - 1
        return {"p50": percentile(taken, 0.5) * 1000}

    yield measure


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """One SELECT, decoded and folded row by row."""
    await place.raw_fill(_facts(), size=1000)

    async def measure() -> Figures:
        taken = []
        async with raw_store(place) as store:
            for order_id in _ORDERS:
                begun = time.perf_counter()
                loaded = await store.load(store.key(order_id))
                taken.append(time.perf_counter() - begun)
                assert loaded.item_count == _EVENTS - 1
        return {"p50": percentile(taken, 0.5) * 1000}

    yield measure


WORKLOADS = (Workload("W5", "load an aggregate of 1,000 events", (Goal("p50", "ms", 2.5),), diptych, twin),)
