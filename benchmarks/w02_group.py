"""W2: 32 clients, 1 to 3 events per append, each on a stream of its own: what group commit is for."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

from benchmarks import raw, shop
from benchmarks.children import child, heard, tell
from benchmarks.clients import together
from benchmarks.generator import Fact, log
from benchmarks.place import Place, raw_store
from benchmarks.workload import Figures, Goal, Measure, Scale, Workload
from diptych import App, DomainEvent
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import StreamName

_CLIENTS = 32


def _shares(scale: Scale) -> list[list[tuple[int, list[Fact]]]]:
    """Per client: the version expected, and the events of one append."""
    source = random.Random(2)
    facts = list(log(3000))
    shares = []
    for _ in range(_CLIENTS):
        version, share = 0, []
        for _ in range(scale.of(2, 150, 400)):
            count = source.randint(1, 3)
            share.append((version, source.sample(facts, count)))
            version += count
        shares.append(share)
    return shares


def _streams(source: random.Random) -> list[UUID]:
    return [UUID(int=source.getrandbits(128), version=4) for _ in range(_CLIENTS)]


@asynccontextmanager
async def diptych(place: Place, scale: Scale, seed: int = 3) -> AsyncIterator[Measure]:
    """`EventStore.append` with the codec."""
    plan = [[(v, [shop.event(fact) for fact in facts]) for v, facts in share] for share in _shares(scale)]
    total = sum(len(events) for share in plan for _, events in share)
    source = random.Random(seed)
    async with App(place.url) as app:
        store, encode = app.events, app.codec.encode

        async def measure() -> Figures:
            streams = [shop.stream(order_id) for order_id in _streams(source)]
            work = [[(stream, *step) for step in share] for stream, share in zip(streams, plan, strict=True)]

            async def step(job: tuple[StreamName, int, list[DomainEvent]]) -> None:
                stream, version, events = job
                await store.append(Append([StreamWrite(stream, version, [encode(event) for event in events])]))

            return {"events": total / await together(work, step), "total": total}

        yield measure


@asynccontextmanager
async def twin(place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """The raw twin's group commit."""
    plan = [[(v, [raw.event(fact) for fact in facts]) for v, facts in share] for share in _shares(scale)]
    total = sum(len(events) for share in plan for _, events in share)
    source = random.Random(3)
    async with raw_store(place) as store:

        async def measure() -> Figures:
            streams = [store.key(order_id) for order_id in _streams(source)]
            work = [[(stream, *step) for step in share] for stream, share in zip(streams, plan, strict=True)]

            async def step(job: tuple[Any, int, list[raw.RawEvent]]) -> None:
                stream, version, events = job
                await store.append(stream, version, [raw.encode(event) for event in events])

            return {"events": total / await together(work, step), "total": total}

        yield measure


@asynccontextmanager
async def _processes(count: int, place: Place, scale: Scale) -> AsyncIterator[Measure]:
    """Diptych in child processes; each appends as much as one does alone."""
    async with AsyncExitStack() as stack:
        children = [
            await stack.enter_async_context(child("benchmarks.appender", place.url, scale.name, seed))
            for seed in range(count)
        ]

        async def measure() -> Figures:
            for each in children:
                tell(each, "append")
            spans = [await heard(each) for each in children]
            seconds = max(end for _, _, end in spans) - min(begin for _, begin, _ in spans)
            return {"events": sum(events for events, _, _ in spans) / seconds}

        yield measure


four_processes, one_process = partial(_processes, 4), partial(_processes, 1)

WORKLOADS = (
    Workload(
        "W2",
        "32 clients, 1 to 3 events per append",
        (Goal("events", "per s", 0.6, better="higher"),),
        diptych,
        twin,
    ),
    Workload(
        "W2",
        "4 processes of 32 clients each",
        (Goal("events", "per s", 1.0, better="higher"),),
        four_processes,
        one_process,
        versus="1 process",
        stores=("postgresql",),
    ),
)
