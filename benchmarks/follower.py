"""The reading half of W6: says when each position became visible. As a program, in a process of its own."""

import asyncio
import sys
import time

from benchmarks import shop
from benchmarks.children import parent_is_gone, say
from benchmarks.place import Place, place_of, raw_views
from benchmarks.raw import RawViews


class Follower:
    """The raw twin's projector: applies what is new when somebody waits for it."""

    def __init__(self, views: RawViews) -> None:
        self._views = views
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    async def wait_for(self, position: int) -> None:
        """Return when this position is on the read side."""
        if self._views.position < position:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((position, future))
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._work())
            await future

    async def _work(self) -> None:
        while self._waiting:
            await self._views.advance()
            for wanted, future in self._waiting:
                if wanted <= self._views.position:
                    future.set_result(None)
            self._waiting = [(wanted, future) for wanted, future in self._waiting if not future.done()]


async def follow_diptych(place: Place, count: int) -> None:
    """Run the app's projection and note the time at which it reaches each position."""
    async with shop.shop(place.url) as app:
        await app.caught_up(timeout=60)
        first = (await app.events.head()).position + 1
        progress = next(iter(app.progress.values()))
        say("ready")
        visible = []
        for position in range(first, first + count):
            await progress.wait_for(position, 30)
            visible.append((position, time.monotonic_ns()))
        say(visible)
        await parent_is_gone()


async def follow_raw(place: Place, count: int) -> None:
    """Look every millisecond."""
    async with raw_views(place) as views:
        while await views.advance():
            pass
        first = views.position + 1
        say("ready")
        visible = []
        while views.position < first + count - 1:
            before = views.position
            if await views.advance():
                now = time.monotonic_ns()
                visible += [(position, now) for position in range(before + 1, views.position + 1)]
            else:
                await asyncio.sleep(0.001)
        say(visible)
        await parent_is_gone()


if __name__ == "__main__":
    follow = {"diptych": follow_diptych, "raw": follow_raw}[sys.argv[1]]
    asyncio.run(follow(place_of(sys.argv[2]), int(sys.argv[3])))
