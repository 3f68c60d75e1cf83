"""W7: what a dispatch costs over awaiting the handler directly, on the query bus, with no middleware."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from benchmarks import shop
from benchmarks.place import Place
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload


def _count(scale: Scale) -> int:
    return scale.of(100, 20_000, 50_000)


async def overhead(
    dispatch: Callable[[Any], Awaitable[Any]], direct: Callable[[Any], Awaitable[Any]], count: int
) -> float:
    """Return the microseconds of one dispatch less those of one direct await."""
    query = shop.Answer()
    begun = time.perf_counter()
    for _ in range(count):
        await direct(query)
    alone = time.perf_counter() - begun
    begun = time.perf_counter()
    for _ in range(count):
        await dispatch(query)
    return (time.perf_counter() - begun - alone) / count * 1e6


@asynccontextmanager
async def diptych(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """`QueryBus.dispatch`."""
    async with shop.shop(place.url, projects=False) as app:

        async def measure() -> Figures:
            return {"overhead": await overhead(app.queries.dispatch, shop.answer, _count(scale))}

        yield measure


class _Bus:
    """The twin: a dictionary of handlers."""

    def __init__(self) -> None:
        self.handlers: dict[type, Callable[[Any], Awaitable[Any]]] = {shop.Answer: shop.answer}

    async def dispatch(self, query: Any) -> Any:
        return await self.handlers[type(query)](query)


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """A dictionary look-up and a call."""
    bus = _Bus()

    async def measure() -> Figures:
        return {"overhead": await overhead(bus.dispatch, shop.answer, _count(scale))}

    yield measure


WORKLOADS = (
    Workload(
        "W7",
        "query bus over a direct await",
        (Goal("overhead", "us", 2.0, kind="absolute"),),
        diptych,
        twin,
        versus="dict look-up",
        stores=("sqlite",),
    ),
)
