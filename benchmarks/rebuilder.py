"""The child of W10: rebuilds the read side from position 0, again and again, until the parent is gone.

It is nice to the others (`os.nice`), as whoever rebuilds beside a service should be.
"""

import asyncio
import os
import sys

from benchmarks import shop
from benchmarks.children import parent_is_gone, say
from benchmarks.place import Place, place_of


async def rebuild(place: Place) -> None:
    """Delete the rows and catch up, as fast as it goes."""
    while True:
        await place.forget_rows()
        async with shop.shop(place.url) as app:
            await app.caught_up(timeout=300)


async def main(place: Place) -> None:
    """Rebuild until told to end; a rebuild that fails is no measure of anything."""
    os.nice(10)
    say("ready")
    tasks = {asyncio.create_task(rebuild(place)), asyncio.create_task(parent_is_gone())}
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for task in done:
        task.result()


if __name__ == "__main__":
    asyncio.run(main(place_of(sys.argv[1])))
