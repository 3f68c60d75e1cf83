"""What W8 and W9 share: a server in one process, a load generator in another, requests per second between them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from benchmarks.children import child, heard, tell
from benchmarks.place import Place
from benchmarks.workload import Figures, Measure

_CONNECTIONS = 32


@asynccontextmanager
async def served(side: str, place: Place, requests: Callable[[], list[str]], status: int) -> AsyncIterator[Measure]:
    """Start a server and a load generator; a measure sends all requests and expects this status of every one."""
    async with child("benchmarks.serve", side, place.url) as server:
        port = await heard(server)
        async with child("benchmarks.http_load", "127.0.0.1", port, _CONNECTIONS) as load:

            async def measure() -> Figures:
                tell(load, requests())
                figures = await heard(load)
                if set(figures["statuses"]) != {str(status)}:
                    raise RuntimeError(f"{side} answered {figures['statuses']} instead of {status}")
                return {name: figures[name] for name in ("requests", "p50", "p99")}

            yield measure
