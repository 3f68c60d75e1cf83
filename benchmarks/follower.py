"""The reading half of W6: says when each position became visible. As a program, in a process of its own."""

import asyncio
import sys
import time
from pathlib import Path
from threading import Event, Thread

from benchmarks import shop
from benchmarks.children import parent_is_gone, say
from benchmarks.raw_views import RawViews


class Follower:
    """The raw twin's projector: a thread that applies what is new when it is woken."""

    def __init__(self, events: Path, views: Path) -> None:
        self._events, self._views = events, views
        self._wake, self._is_closed, self._position = Event(), False, 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    async def wait_for(self, position: int) -> None:
        """Return when this position is on the read side."""
        if self._position < position:
            future: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append((position, future))
            self._wake.set()
            await future

    async def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        views = RawViews(self._events, self._views)
        while not self._is_closed:
            self._wake.wait()
            self._wake.clear()
            while views.advance():
                self._loop.call_soon_threadsafe(self._moved, views.position)
        views.close()

    def _moved(self, position: int) -> None:
        self._position = position
        for wanted, future in self._waiting:
            if wanted <= position and not future.done():
                future.set_result(None)
        self._waiting = [(wanted, future) for wanted, future in self._waiting if wanted > position]


async def follow_diptych(file: Path, count: int) -> None:
    """Run the app's projection and note the time at which it reaches each position."""
    async with shop.shop(file) as app:
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


async def follow_raw(file: Path, count: int) -> None:
    """Look every millisecond."""
    views = RawViews(file, file.with_name("raw.views.db"))
    while views.advance():
        pass
    first = views.position + 1
    say("ready")
    visible = []
    while views.position < first + count - 1:
        before = views.position
        if views.advance():
            now = time.monotonic_ns()
            visible += [(position, now) for position in range(before + 1, views.position + 1)]
        else:
            await asyncio.sleep(0.001)
    say(visible)
    await parent_is_gone()


if __name__ == "__main__":
    follow = {"diptych": follow_diptych, "raw": follow_raw}[sys.argv[1]]
    asyncio.run(follow(Path(sys.argv[2]), int(sys.argv[3])))
