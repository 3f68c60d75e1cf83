"""W4: catch up on 100,000 order events into `order_summary`; every row is compared with an independent fold."""

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

from benchmarks import shop
from benchmarks.generator import Summary, fold, log
from benchmarks.place import Place, raw_views
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload


def _count(scale: Scale) -> int:
    return scale.of(500, 100_000, 100_000)


def check(expected: Mapping[UUID, Summary], rows: Iterable[tuple[Any, ...]]) -> None:
    """Compare every row; amounts are whole pence in them."""
    found = {
        UUID(id): Summary(UUID(id), UUID(customer), status, Decimal(pence) / 100, items)
        for id, customer, status, pence, items in rows
    }
    if found != expected:
        wrong = sum(found.get(key) != summary for key, summary in expected.items())
        raise SystemExit(f"order_summary is wrong: {wrong} of {len(expected)} orders differ, {len(found)} rows found")


@asynccontextmanager
async def diptych(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """The projection engine, from the start of an app without rows until it has caught up."""
    count = _count(scale)
    expected = fold(log(count))
    await shop.fill(place.url, log(count))

    async def measure() -> Figures:
        await place.forget_rows()
        app = shop.shop(place.url)
        begun = time.perf_counter()
        async with app:
            await app.caught_up(timeout=300)
            taken = time.perf_counter() - begun
        check(expected, await place.rows())
        return {"events": count / taken}

    yield measure


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """Fold in memory and upsert in bulk, 10,000 events a batch."""
    async with raw_catch_up(place, _count(scale)) as measure:
        yield measure


@asynccontextmanager
async def raw_catch_up(place: Place, count: int) -> AsyncIterator[Measure]:
    """The same over so many events."""
    expected = fold(log(count))
    await place.raw_fill(log(count))

    async def measure() -> Figures:
        await place.forget_rows()
        begun = time.perf_counter()
        async with raw_views(place) as views:
            while await views.advance():
                pass
            taken = time.perf_counter() - begun
            check(expected, await views.rows())
        return {"events": count / taken}

    yield measure


WORKLOADS = (
    Workload(
        "W4",
        "catch up into order_summary, rows verified",
        (Goal("events", "per s", {"sqlite": 0.25, "postgresql": 0.4}, better="higher"),),
        diptych,
        twin,
    ),
)
