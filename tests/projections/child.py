"""A child process for the tests that kill or measure: `fill` a log, `follow` it, `work`, or `catch_up` and report."""

import asyncio
import json
import resource
import sys
from itertools import groupby
from typing import Any

from diptych.projections.projection import Projection
from diptych.projections.site import Rules
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY
from tests.projections import shop
from tests.projections.harmful import Harmful, HarmfulSales
from tests.projections.running import FAST, running
from tests.projections.shop import Fact


def facts(count: int) -> list[Fact]:
    """A log of so many events; the same every time."""
    made: list[Fact] = []
    number = 0
    while len(made) < count:
        one = shop.order(str(number))
        made += [(one, shop.placed()), (one, shop.added("pen", number % 5 + 1)), (one, shop.added("ink"))]
        number += 1
    return made[:count]


async def fill(url: str, count: int) -> None:
    """Append a log without any projection."""
    async with running(url) as shop_:
        made = facts(count)
        for start in range(0, count, 999):
            streams = groupby(made[start : start + 999], key=lambda fact: fact[0])
            writes = [StreamWrite(stream, ANY, [shop_.codec.encode(e) for _, e in group]) for stream, group in streams]
            await shop_.events.append(Append(writes))


async def follow(url: str) -> None:
    """Run projections until killed, and say when they have started, when all have moved, and when they are done."""
    print("begins", flush=True)  # noqa: T201
    async with running(url, shop.Sales, shop.Baskets, shop.SalesBySql) as shop_:
        head = (await shop_.events.head()).position
        print("started", flush=True)  # noqa: T201
        for name, progress in shop_.engine.progress.items():
            await progress.wait_for(min((await shop_.views.checkpoint(name)).position + 1, head), 60)
        print("moved", flush=True)  # noqa: T201
        for progress in shop_.engine.progress.values():
            await progress.wait_for(head, 60)
        print("done", flush=True)  # noqa: T201
        await asyncio.sleep(60)


async def work(url: str, name: str, rules: str) -> None:
    """Run one harmful projection until killed; `exits`: a handler that hangs ends it; `lasting`: its lease is long."""
    given: type[Projection[Any]] = Harmful if name == "isolated" else HarmfulSales
    lease, seconds = 60.0 if rules == "lasting" else 0.2, 0.5 if rules == "exits" else 30.0
    pace = FAST.pace._replace(lease=lease, handler_seconds=seconds)
    print("begins", flush=True)  # noqa: T201
    async with running(url, given, rules=Rules(pace, exits_when_hung=rules == "exits")):
        print("started", flush=True)  # noqa: T201
        await asyncio.sleep(60)


async def catch_up(url: str) -> None:
    """Catch up from the beginning and print the most memory that was ever in use, in bytes."""
    async with running(url, shop.Baskets, shop.Sales) as shop_:
        await shop_.engine.caught_up(timeout=100)
        position = shop_.engine.progress["baskets"].saved
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"position": position, "peak": peak}))  # noqa: T201


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fill", url, count]:
            asyncio.run(fill(url, int(count)))
        case ["follow", url]:
            asyncio.run(follow(url))
        case ["work", url, name, rules]:
            asyncio.run(work(url, name, rules))
        case ["catch_up", url]:
            asyncio.run(catch_up(url))
