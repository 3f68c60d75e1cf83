"""The worker that a process is to its view store: it says that it is alive, and keeps its share of the lanes.

Rule: it decides who should have what; taking and letting go is for whoever works on the lanes, between two batches.
"""

import asyncio
import faulthandler
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Protocol

from diptych.clock import new_id
from diptych.errors import DiptychError, StoreError
from diptych.store.leases import Board, Leases, Worker
from diptych.subscriptions.failures import Backoff
from diptych.subscriptions.place import comes, goes, has_ended, this_place
from diptych.subscriptions.reading import Pace
from diptych.subscriptions.spreading import Share, share

_log: Final = logging.getLogger("diptych.projections")
_BEATS: Final = 4  # in the time of a lease
_SOON: Final = 0.2  # seconds until it is looked whether another worker has let go of what shall be ours
_MOMENT: Final = 0.1  # seconds to the next beat while something is held for a moment, so that the moment is short
_LOOKS: Final = 4  # what is taken may change by looking, but not for ever


class Crew(Protocol):
    """Those of a process who work on lanes."""

    async def see(self, board: Board) -> frozenset[int]:
        """Look at how things are, and say which generations this process takes."""
        ...

    def share(self, shares: Mapping[int, Share]) -> None:
        """Learn which lanes of each generation that is taken shall be ours."""
        ...


class Coordinator:
    """Beats, looks at the board and shares the lanes, until it is stopped. One that only looks is no worker."""

    def __init__(self, leases: Leases, pace: Pace, *, is_worker: bool = True, exits_when_hung: bool = False) -> None:
        self.id = str(new_id()) if is_worker else ""
        self.has_looked = asyncio.Event()
        self._leases, self._pace, self._exits_when_hung = leases, pace, exits_when_hung
        self._place, self._takes = this_place(), frozenset[int]()
        self._turn, self._due = asyncio.Lock(), asyncio.Event()
        self._watching: asyncio.TimerHandle | None = None

    async def run(self, crew: Crew) -> None:
        """Beat until cancelled. While the store is away nothing is decided."""
        backoff = Backoff(self._pace.first_pause, self._pace.longest_pause)
        while True:
            pause = self._pace.lease / _BEATS
            try:
                board = await self.look(crew)
                if any(map(board.is_held, board.paused)):
                    pause = min(pause, _MOMENT)
                backoff.reset()
            except Exception as error:  # whatever it is, beats go on
                level = logging.WARNING if isinstance(error, StoreError) else logging.ERROR
                known = isinstance(error, DiptychError)
                _log.log(level, "The board of projections cannot be read: %s", error, exc_info=None if known else error)
                pause = min(pause, backoff.next())
            self.has_looked.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due.wait()

    def hurry(self) -> None:
        """Look again as soon as can be: something has changed."""
        self._due.set()

    async def look(self, crew: Crew) -> Board:
        """Beat, look at the board, and share the lanes. :raises StoreError:"""
        async with self._turn:
            self._due.clear()
            comes(self.id)
            if self._exits_when_hung and self._watching is None:
                self._watch()
            board = await self._board([])
            for _ in range(_LOOKS):
                dead = [one.id for one in board.workers if has_ended(one)] if self.id else []
                takes = await crew.see(board) if not dead else self._takes
                is_known = any(one.id == self.id and one.takes == takes for one in board.workers)
                if not dead and (is_known or not self.id):
                    break
                self._takes = takes
                board = await self._board(dead)
            takes = self._takes if self.id else frozenset()
            shares = {one.number: share(board, one, self.id) for one in board.generations if one.number in takes}
            crew.share(shares)
            if any(one.lanes > one.free for one in shares.values()):
                asyncio.get_running_loop().call_later(min(_SOON, self._pace.lease / _BEATS), self.hurry)
            return board

    async def leave(self) -> None:
        """Let go of every lane. A store that is away learns it when the lease is over."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
            faulthandler.cancel_dump_traceback_later()
        if self.id and self.has_looked.is_set():
            with suppress(StoreError):
                await self._leases.leave(self.id)
            goes(self.id)

    def _watch(self) -> None:
        """Have the process end if its event loop stands for as long as no handler may take: one holds the interpreter.

        It goes by the loop and not by the beats, which wait where the store does not answer.
        """
        faulthandler.dump_traceback_later(self._pace.handler_seconds, exit=True)
        pause = min(self._pace.lease, self._pace.handler_seconds) / _BEATS
        self._watching = asyncio.get_running_loop().call_later(pause, self._watch)

    async def _board(self, dead: list[str]) -> Board:
        if not self.id:
            return await self._leases.board()
        return await self._leases.beat(Worker(self.id, self._place, self._takes), self._pace.lease, dead=dead)
