"""W4: catch up on 100,000 order events into `order_summary`; every row is compared with an independent fold."""

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks import raw, shop
from benchmarks.generator import Summary, fold, log
from benchmarks.raw_views import RawViews
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload

ROWS = "SELECT id, customer_id, status, total_amount, item_count FROM order_summary"


def _count(scale: Scale) -> int:
    return scale.of(500, 100_000, 100_000)


def check(expected: Mapping[UUID, Summary], rows: Iterable[tuple[Any, ...]]) -> None:
    """Compare every row as it is on disk: amounts are whole pence there."""
    found = {
        UUID(id): Summary(UUID(id), UUID(customer), status, Decimal(pence) / 100, items)
        for id, customer, status, pence, items in rows
    }
    if found != expected:
        wrong = sum(found.get(key) != summary for key, summary in expected.items())
        raise SystemExit(f"order_summary is wrong: {wrong} of {len(expected)} orders differ, {len(found)} rows found")


def delete(folder: Path, pattern: str) -> None:
    """Delete the rows of the last round, so that the next begins at 0."""
    for file in folder.glob(pattern):
        file.unlink()


@asynccontextmanager
async def diptych(folder: Path, scale: Scale) -> AsyncIterator[Measure]:
    """The projection engine, from the start of an app without a views file until it has caught up."""
    count = _count(scale)
    expected = fold(log(count))
    await shop.fill(folder / "shop.db", log(count))

    async def measure() -> Figures:
        delete(folder, "shop.views.db*")
        app = shop.shop(folder / "shop.db")
        begun = time.perf_counter()
        async with app:
            await app.caught_up(timeout=300)
            taken = time.perf_counter() - begun
        views = raw.open_database(folder / "shop.views.db")
        check(expected, views.execute(ROWS))
        views.close()
        return {"events": count / taken}

    yield measure


@asynccontextmanager
async def twin(folder: Path, scale: Scale) -> AsyncIterator[Measure]:
    """Fold in memory and upsert in bulk, 10,000 events a batch."""
    count = _count(scale)
    expected = fold(log(count))
    raw.fill(folder / "raw.db", log(count))

    async def measure() -> Figures:
        delete(folder, "raw.views.db*")
        begun = time.perf_counter()
        views = RawViews(folder / "raw.db", folder / "raw.views.db")
        while views.advance():
            pass
        taken = time.perf_counter() - begun
        check(expected, [(row[0].hex(), *row[1:]) for row in views.rows()])
        views.close()
        return {"events": count / taken}

    yield measure


WORKLOADS = (
    Workload(
        "W4",
        "catch up into order_summary, rows verified",
        (Goal("events", "per s", 0.25, better="higher"),),
        diptych,
        twin,
    ),
)
