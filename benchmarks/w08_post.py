"""W8: `POST /api/v1/orders` through uvicorn, one process, 32 connections; each order has three items."""

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.generator import created, item_added
from benchmarks.http_load import request
from benchmarks.place import Place
from benchmarks.web import served
from benchmarks.workload import Goal, Measure, Scale, Workload


def _requests(scale: Scale) -> list[str]:
    source = random.Random(31)
    requests = []
    for _ in range(scale.of(64, 600, 4000)):
        body = created(source) | {"items": [item_added(source) for _ in range(3)]}
        requests.append(request("POST", "/api/v1/orders", json.dumps(body)))
    return requests


@asynccontextmanager
async def diptych(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """The command as body, dispatched by the request's bus; its projection runs too."""
    requests = _requests(scale)
    async with served("diptych", place, lambda: requests, 201) as measure:
        yield measure


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """A bare route with the raw append."""
    requests = _requests(scale)
    async with served("raw", place, lambda: requests, 201) as measure:
        yield measure


WORKLOADS = (
    Workload(
        "W8",
        "POST an order through uvicorn, 32 connections",
        (Goal("requests", "per s", 0.7, better="higher"), Goal("p99", "ms")),
        diptych,
        twin,
        versus="bare route",
    ),
)
