"""W6: from commit to visible in an async projection, at 200 commands a second, in the same process and in another.

On PostgreSQL also without NOTIFY: polling is what is sure, and hints only what is fast (P6).
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from benchmarks import raw, shop
from benchmarks.children import child, heard
from benchmarks.follower import Follower
from benchmarks.generator import Fact, created, order_ids
from benchmarks.place import Place, raw_store, raw_views
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload, percentile

_RATE = 200
_SEEDS = random.Random(21)


def _count(scale: Scale) -> int:
    return scale.of(20, 300, 1000)


def _facts(scale: Scale) -> list[Fact]:
    source = random.Random(_SEEDS.random())
    seed = source.randrange(2**32)
    return [Fact(order_id, "bench.order_created", created(source)) for order_id in order_ids(_count(scale), seed)]


async def paced(facts: list[Fact], step: Callable[[Fact], Coroutine[Any, Any, None]]) -> None:
    """Begin a step every 5 ms, whether or not the ones before have ended."""
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number, fact in enumerate(facts):
            await asyncio.sleep(max(0.0, begun + number / _RATE - time.perf_counter()))
            group.create_task(step(fact))


def _figures(taken: list[float]) -> Figures:
    return {"p50": percentile(taken, 0.5) * 1000, "p99": percentile(taken, 0.99) * 1000}


def _command(fact: Fact) -> shop.CreateOrder:
    return shop.CreateOrder.model_validate(
        {
            "order_id": fact.order_id,
            "customer_id": fact.fields["customer_id"],
            "shipping_address": fact.fields["shipping_address"],
            "items": [],
        }
    )


@asynccontextmanager
async def diptych(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """From the receipt to the row, asked for with `after=receipt`."""

    async def measure() -> Figures:
        taken: list[float] = []
        async with shop.shop(place.url) as app:

            async def step(fact: Fact) -> None:
                receipt = await app.commands.dispatch(_command(fact))
                begun = time.perf_counter()
                row = await app.queries.dispatch(shop.GetOrder(order_id=fact.order_id), after=receipt, within=5.0)
                taken.append(time.perf_counter() - begun)
                assert row is not None

            await paced(_facts(scale), step)
        return _figures(taken)

    yield measure


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """A projector, woken after each commit."""

    async def measure() -> Figures:
        taken: list[float] = []
        async with raw_store(place) as store, raw_views(place) as views:
            follower = Follower(views)

            async def step(fact: Fact) -> None:
                event = raw.event(fact)
                position = await store.append(store.key(fact.order_id), 0, [raw.encode(event)])
                begun = time.perf_counter()
                await follower.wait_for(position)
                taken.append(time.perf_counter() - begun)

            await paced(_facts(scale), step)
        return _figures(taken)

    yield measure


async def _follow(side: str, url: str, facts: list[Fact], write: Callable[[Fact], Awaitable[int]]) -> Figures:
    """Write here, look there: both processes read the same clock."""
    committed: dict[int, int] = {}

    async def step(fact: Fact) -> None:
        position = await write(fact)
        committed[position] = time.monotonic_ns()

    async with child("benchmarks.follower", side, url, len(facts)) as process:
        await paced(facts, step)
        visible = await heard(process)
    return _figures([max(0, seen - committed[position]) / 1e9 for position, seen in visible if position in committed])


@asynccontextmanager
async def diptych_elsewhere(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """The app with projections runs in a child, the one that takes commands here."""

    async def measure() -> Figures:
        return await _elsewhere(place.url, scale)

    yield measure


@asynccontextmanager
async def diptych_polling(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """The same as if a pooler were between: no session can listen, and neither side tells the other anything."""

    async def measure() -> Figures:
        return await _elsewhere(f"{place.url}{'&' if '?' in place.url else '?'}pgbouncer=true", scale)

    yield measure


async def _elsewhere(url: str, scale: Scale) -> Figures:
    async with shop.shop(url, projects=False) as app:

        async def write(fact: Fact) -> int:
            return (await app.commands.dispatch(_command(fact))).position

        return await _follow("diptych", url, _facts(scale), write)


@asynccontextmanager
async def twin_elsewhere(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """The projector in a child looks for new events every millisecond."""

    async def measure() -> Figures:
        async with raw_store(place) as store:

            async def write(fact: Fact) -> int:
                return await store.append(store.key(fact.order_id), 0, [raw.encode(raw.event(fact))])

            return await _follow("raw", place.url, _facts(scale), write)

    yield measure


WORKLOADS = (
    Workload(
        "W6",
        "commit to visible, same process",
        (Goal("p50", "ms", 2, kind="absolute"), Goal("p99", "ms", 8, kind="absolute")),
        diptych,
        twin,
    ),
    Workload(
        "W6",
        "commit to visible, other process",
        (Goal("p50", "ms", 6, kind="absolute"), Goal("p99", "ms")),
        diptych_elsewhere,
        twin_elsewhere,
    ),
    Workload(
        "W6",
        "commit to visible, other process, without NOTIFY",
        (Goal("p50", "ms"), Goal("p99", "ms")),
        diptych_polling,
        twin_elsewhere,
        stores=("postgresql",),
    ),
)
