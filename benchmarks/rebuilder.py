"""The child of W10: rebuilds the read side from position 0, again and again, until the parent is gone."""

import asyncio
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
    """Rebuild until told to end."""
    say("ready")
    rebuilding = asyncio.create_task(rebuild(file))
    await parent_is_gone()
    rebuilding.cancel()
    await asyncio.gather(rebuilding, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
