"""The child of growth: catches up on a log once and says how many MB it needed at most."""

import asyncio
import resource
import sys
from pathlib import Path

from benchmarks import shop
from benchmarks.children import parent_is_gone, say


async def main(url: str) -> None:
    """Catch up, say, end."""
    async with shop.shop(url) as app:
        say("ready")
        await app.caught_up(timeout=3600)
    say(megabytes())
    await parent_is_gone()


def megabytes() -> float:
    """The most memory this process had. `ru_maxrss` would count what the parent had when it forked."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
