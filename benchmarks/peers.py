"""Peers that install from the package index, doing the same work the way their own users write it.

Rule: imported only with --peers; a peer that is not installed has no column.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from uuid import UUID

from benchmarks.place import Place
from benchmarks.sqlite.place import SqlitePlace
from benchmarks.workload import Figures, Measure, Scale, Side, percentile


def sides(key: str) -> dict[str, Side]:
    """Return the peers that are installed and do this workload."""
    found: dict[str, Side] = {}
    if key in _EVENTSOURCING and find_spec("eventsourcing"):
        found["eventsourcing"] = _eventsourcing(_EVENTSOURCING[key])
    if key == "W7" and find_spec("cqrs"):
        found["python-cqrs"] = _cqrs
    return found


def _eventsourcing(measure: Callable[[ModuleType, Path, Scale], Figures]) -> Side:
    """`eventsourcing` is synchronous: its work runs in threads, as a FastAPI service would run it."""

    @asynccontextmanager
    async def side(place: Place, scale: Scale) -> AsyncIterator[Measure]:
        peer = import_module("benchmarks.peer_eventsourcing")

        async def run() -> Figures:
            file = SqlitePlace.of(place.url).file.with_name(f"{time.monotonic_ns()}.db")
            return await asyncio.to_thread(measure, peer, file, scale)

        yield run

    return side


def _append(peer: ModuleType, file: Path, scale: Scale) -> Figures:
    with peer.shop(file) as app:
        orders = [peer.Order() for _ in range(50)]
        app.save(*orders)
        taken = []
        for number in range(scale.of(20, 300, 1000)):
            order = orders[number % 50]
            order.add_item(*peer.ITEM)
            begun = time.perf_counter()
            app.save(order)
            taken.append(time.perf_counter() - begun)
    return {"p50": percentile(taken, 0.5) * 1000}


def _crowd_appends(peer: ModuleType, file: Path, scale: Scale) -> Figures:
    source = random.Random(2)
    with peer.shop(file) as app:
        plans = [[source.randint(1, 3) for _ in range(scale.of(2, 20, 60))] for _ in range(32)]

        def client(plan: list[int]) -> None:
            order = peer.Order()
            for count in plan:
                for _ in range(count):
                    order.add_item(*peer.ITEM)
                app.save(order)

        return {"events": sum(map(sum, plans)) / peer.in_threads(client, plans)}


def _commands(peer: ModuleType, file: Path, scale: Scale) -> Figures:
    with peer.shop(file) as app:

        def command(order_id: UUID) -> None:
            order = app.repository.get(order_id)
            order.add_item(*peer.ITEM)
            app.save(order)

        alone = peer.filled(app, scale.of(5, 100, 300), 10)
        begun = time.perf_counter()
        for order_id in alone:
            command(order_id)
        taken = time.perf_counter() - begun
        crowd = peer.filled(app, scale.of(64, 320, 960), 10)

        def client(share: list[UUID]) -> None:
            for order_id in share:
                command(order_id)

        seconds = peer.in_threads(client, [crowd[number::32] for number in range(32)])
    return {"1 client": len(alone) / taken, "32 clients": len(crowd) / seconds}


def _load(peer: ModuleType, file: Path, scale: Scale) -> Figures:
    taken = []
    with peer.shop(file) as app:
        for order_id in peer.filled(app, 5, 1000):
            begun = time.perf_counter()
            app.repository.get(order_id)
            taken.append(time.perf_counter() - begun)
    return {"p50": percentile(taken, 0.5) * 1000}


_EVENTSOURCING = {"W1": _append, "W2": _crowd_appends, "W3": _commands, "W5": _load}


@asynccontextmanager
async def _cqrs(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """`RequestMediator.send` of python-cqrs, with a handler that does nothing."""
    measure: Measure = import_module("benchmarks.peer_cqrs").measure(scale)
    yield measure
