"""W9: `GET /api/v1/orders/{id}` through uvicorn, one process, 32 connections, over 1,000 orders."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks import shop
from benchmarks.generator import Fact, order, order_ids
from benchmarks.http_load import request
from benchmarks.place import Place
from benchmarks.web import served
from benchmarks.workload import Goal, Measure, Scale, Workload

_ORDERS = 1000


def _facts(scale: Scale) -> list[Fact]:
    source = random.Random(33)
    return [fact for order_id in order_ids(scale.of(50, _ORDERS, _ORDERS)) for fact in order(order_id, source)]


def _requests(scale: Scale) -> list[str]:
    ids = order_ids(scale.of(50, _ORDERS, _ORDERS))
    chosen = random.Random(34).choices(ids, k=scale.of(64, 1000, 6000))
    return [request("GET", f"/api/v1/orders/{order_id}") for order_id in chosen]


@asynccontextmanager
async def diptych(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """`Queries`, with freshness in the answer's headers."""
    requests = _requests(scale)
    await shop.fill(place.url, _facts(scale))
    async with served("diptych", place, lambda: requests, 200) as measure:
        yield measure


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """A bare route with the raw driver."""
    requests = _requests(scale)
    await place.raw_fill(_facts(scale))
    async with served("raw", place, lambda: requests, 200) as measure:
        yield measure


WORKLOADS = (
    Workload(
        "W9",
        "GET an order through uvicorn, 32 connections",
        (Goal("requests", "per s", 0.8, better="higher"), Goal("p99", "ms")),
        diptych,
        twin,
        versus="bare route",
    ),
)
