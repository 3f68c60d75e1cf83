"""A child of W2: one process of several that append, 32 clients each; says how many events, and from when to when."""

import asyncio
import sys
import time

from benchmarks.children import say, told
from benchmarks.place import place_of
from benchmarks.w02_group import diptych
from benchmarks.workload import Scale


async def main(url: str, scale: str, seed: int) -> None:
    """Append each time the parent says so."""
    async with diptych(place_of(url), Scale.named(scale), seed) as measure:
        say("ready")
        async for _ in told():
            begun = time.monotonic()
            figures = await measure()
            say((figures["total"], begun, time.monotonic()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], 100 + int(sys.argv[3])))
