"""The child of W10: rebuilds the read side from position 0, again and again, until the parent is gone.

It is nice to the others (`os.nice`), as whoever rebuilds beside a service should be.
"""

import asyncio
import os
import sys
from pathlib import Path

from benchmarks import shop
from benchmarks.children import parent_is_gone, say


async def rebuild(file: Path) -> None:
    """Delete the rows and catch up, as fast as it goes."""
    while True:
        for views in file.parent.glob(f"{file.stem}.views.db*"):
            views.unlink()
        async with shop.shop(file) as app:
            await app.caught_up(timeout=300)


async def main(file: Path) -> None:
    """Rebuild until told to end; a rebuild that fails is no measure of anything."""
    os.nice(10)
    say("ready")
    tasks = {asyncio.create_task(rebuild(file)), asyncio.create_task(parent_is_gone())}
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for task in done:
        task.result()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
