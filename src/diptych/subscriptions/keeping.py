"""The lanes of one duty that are this process's share: claimed, worked on, and let go of.

Rule: whatever ends the work on a lane, it is claimed and begun again; only the epoch decides what is written.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from diptych.errors import StoreError
from diptych.store.leases import Board
from diptych.subscriptions.duty import Desk, Duty, Work
from diptych.subscriptions.failures import Backoff, Remedy, remedy, told
from diptych.subscriptions.spreading import Share

_log: Final = logging.getLogger("diptych.duties")


class Keeper:
    """Works on the lanes of one duty. `error` says why one of them stands, or is None."""

    def __init__(self, duty: Duty, desk: Desk, worker: str) -> None:
        self.duty, self._desk, self._worker = duty, desk, worker
        self._running: dict[int, asyncio.Task[None]] = {}
        self.works: dict[int, Work] = {}
        self.error: str | None = None
        self._again = asyncio.Event()  # somebody asks for another try
        self._is_paused = False
        self._releasing: set[asyncio.Task[None]] = set()
        self._told: set[asyncio.Task[None]] = set()  # to end: `cancelling()` counts a TaskGroup's own failures, too

    @property
    def has_all(self) -> bool:
        """Whether every lane of it is worked on here."""
        return len(self.works) == self.duty.kept.lanes

    @property
    def is_taking_up(self) -> bool:
        """Whether a lane is claimed here, or was a moment ago, and what it owes is not known yet."""
        return bool(self._running.keys() - self.works.keys())

    def is_settled(self, head: int) -> bool:
        """Whether all lanes are here, and have done all that follows of the log up to there."""
        return self.has_all and all(work.is_settled(head) for work in self.works.values())

    def share(self, share: Share) -> None:
        """Learn which lanes are to be worked on here."""
        for lane in share.free - self._running.keys():
            running = asyncio.create_task(self._keep(lane), name=f"diptych-{self.duty.name}-{lane}")
            running.add_done_callback(partial(self._ended, lane))
            self._running[lane] = running
        for lane in (self._running.keys() | share.over) - share.lanes:
            running_one = self._running.get(lane)
            if running_one is None:  # a claim whose answer was lost
                releasing = asyncio.create_task(self._release(lane), name=f"diptych-{self.duty.name}-{lane}-release")
                self._releasing.add(releasing)
                releasing.add_done_callback(self._releasing.discard)
            else:
                self._end(running_one)

    def _end(self, running: "asyncio.Task[None]") -> None:
        """Cancel it once: it may be letting go already."""
        if running not in self._told:
            self._told.add(running)
            running.add_done_callback(self._told.discard)
            running.cancel()

    def _ended(self, lane: int, done: "asyncio.Task[None]") -> None:
        if self._running.get(lane) is done:
            del self._running[lane]
        if not done.cancelled() and done.exception() is not None:
            _log.error("%s, lane %d, ended", self.duty.name, lane, exc_info=done.exception())

    def see(self, board: Board) -> None:
        """Learn what is asked of its lanes, and whether they shall stand."""
        self._is_paused = self.duty.name in board.paused
        mine = [one for one in board.requests if one.generation == self._desk.generation]
        for lane, work in self.works.items():
            if self._is_paused != work.is_paused:
                work.is_paused = self._is_paused
                work.wake()
            work.is_asked([one for one in mine if one.lane == lane])
        if mine:
            self._again.set()

    async def stop(self) -> None:
        """Finish what is being done, and let go of all lanes."""
        running = [*self._running.values(), *self._releasing]
        for each in self._running.values():
            self._end(each)
        if running:
            await asyncio.wait(running)

    async def _keep(self, lane: int) -> None:
        pace, loop = self._desk.pace, asyncio.get_running_loop()
        backoff = Backoff(pace.first_pause, pace.longest_pause)
        leases, name, generation = self._desk.store.inline.leases, self.duty.name, self._desk.generation
        try:
            while True:
                began = loop.time()
                try:
                    held = await leases.claim(self._worker, name, generation, [lane])
                    if not held:
                        return  # another has it: the board will say when it is to be had
                    await self._work(self.duty.work(self._desk, held[0]))
                except Exception as error:
                    if loop.time() > began + pace.longest_pause:  # what was is forgotten: it worked
                        backoff.reset()
                    await self._fail(lane, error, backoff)
        finally:
            await asyncio.shield(self._release(lane))

    async def _release(self, lane: int) -> None:
        with suppress(StoreError):
            name, generation = self.duty.name, self._desk.generation
            await self._desk.store.inline.leases.release(self._worker, name, generation, [lane])

    async def _work(self, work: Work) -> None:
        self.works[work.lane] = work
        work.is_paused = self._is_paused
        try:
            await work.run()
        except asyncio.CancelledError:
            with suppress(Exception):  # what was not written down is done again, under the same ids
                await work.end()
            raise
        finally:
            self.works.pop(work.lane, None)
            work.drop()

    async def _fail(self, lane: int, error: Exception, backoff: Backoff) -> None:
        """Wait until it is worth another try. What would be wrong to go on with stands until somebody asks."""
        kind = remedy(error)
        if kind is Remedy.RELOAD:
            await asyncio.sleep(backoff.next() / 10)
            return
        if kind is Remedy.PAUSE:
            _log.warning("%s, lane %d, waits for its store: %s", self.duty.name, lane, error)
            await asyncio.sleep(backoff.next())
            return
        why = told(error)
        self.error = why
        _log.error("%s, lane %d, stopped: %s", self.duty.name, lane, why, exc_info=error)
        of_lane = (self._worker, self.duty.name, self._desk.generation, lane)
        with suppress(StoreError):
            await self._desk.store.inline.leases.mark(*of_lane, trouble=why)
        self._again.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                await self._again.wait()
        self.error = None


class DutyCrew:
    """The duties of one process, as its coordinator sees them."""

    def __init__(self, keepers: Sequence[Keeper], generations: Mapping[str, int]) -> None:
        self._keepers, self._generations = keepers, generations

    async def see(self, board: Board) -> frozenset[int]:
        """Look at how things are, and say which generations this process takes."""
        for keeper in self._keepers:
            keeper.see(board)
        return frozenset(self._generations.values())

    def share(self, shares: Mapping[int, Share]) -> None:
        """Learn which lanes are this process's."""
        for keeper in self._keepers:
            keeper.share(shares.get(self._generations[keeper.duty.name], Share()))
