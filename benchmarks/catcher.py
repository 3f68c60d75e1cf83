"""The child of growth: catches up on a log once and says how many MB it needed at most."""

import asyncio
import resource
import sys
from pathlib import Path

from benchmarks import shop
from benchmarks.children import parent_is_gone, say


async def main(file: Path) -> None:
    """Catch up, say, end."""
    async with shop.shop(file) as app:
        say("ready")
        await app.caught_up(timeout=3600)
    say(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    await parent_is_gone()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
