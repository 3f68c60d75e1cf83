"""Two generations of a projection at one position, so that their rows can be compared while events go on.

Rule: the live one stands for a moment only, and goes on by itself if this process ends meanwhile.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from diptych.projections.backfill import Backfill, Subject
from diptych.store.generations import Comparison, Generation
from diptych.store.leases import Board

_NEAR: Final = 500  # events between the two from which on bringing them together is a matter of a moment
_AGAIN: Final = 0.05  # seconds
_PATIENCE: Final = 4  # times as long as the live one is held at most


class Levelling:
    """The live generation beside one that is being built."""

    def __init__(self, subject: Subject, old: Generation, new: Generation) -> None:
        self._subject, self._old, self._new = subject, old, new
        self._leases, self._why = subject.views.leases, f"generation {new.number} is built beside it"

    async def hold(self) -> None:
        """Let the live one stand for a moment, unless somebody has paused it: that lasts. Owners see it soon."""
        await self._leases.pause(self._subject.name, self._subject.pace.hold, reason=self._why, by="", yields=True)

    async def let_go(self) -> None:
        """Let it go on, if it was held here."""
        await self._leases.resume(self._subject.name, reason=self._why)

    async def compare(self, builder: Backfill) -> Comparison | None:
        """Compare the two; the builder has the lanes of the new one, before and after. None: they did not meet.

        A live one that is behind is waited for while somebody works on it, and a moment longer: as a service needs
        that is started anew.
        """
        over = time.monotonic() + _PATIENCE * self._subject.pace.hold
        before, moved = await places(self._subject, self._old), time.monotonic()
        try:
            while time.monotonic() < over:
                stand = await places(self._subject, self._old)
                wanted = _as_lanes(stand, self._new.lanes)
                if wanted is None or not await self._is_behind(wanted):
                    await self.let_go()
                    if stand != before or self._may_move(await self._leases.board()):
                        before, moved = stand, time.monotonic()
                    elif time.monotonic() - moved > self._subject.pace.lease:
                        return None
                    await asyncio.sleep(_AGAIN)
                    continue
                if min(wanted.values()) - builder.progress.position > _NEAR:
                    await builder.build(min(wanted.values()))
                    continue
                await self.hold()
                compared = await self._compare_there(builder, stand, wanted)
                if compared is not None:
                    return compared
        finally:
            await self.let_go()
        return None

    async def _compare_there(
        self, builder: Backfill, stand: Mapping[int, int], wanted: Mapping[int, int]
    ) -> Comparison | None:
        """Bring the new one to where the live one stands, and look whether both were there in one snapshot."""
        await builder.align(wanted)
        compared = None
        if await places(self._subject, self._old) == stand:
            compared = await self._compare_and_let_go()
        else:  # whoever works on it has not seen yet that it shall stand
            await asyncio.sleep(_AGAIN)
        await builder.take(range(self._new.lanes))
        return compared if compared is not None and compared.is_at_one_position else None

    async def _compare_and_let_go(self) -> Comparison:
        """Compare; from the moment that the snapshot stands, the live one may move again."""
        loop, opened = asyncio.get_running_loop(), asyncio.Event()

        def stands() -> None:
            loop.call_soon_threadsafe(opened.set)

        generations = self._subject.views.generations
        comparing = asyncio.ensure_future(
            generations.compare(self._subject.name, self._old.number, self._new.number, opened=stands)
        )
        standing = asyncio.ensure_future(opened.wait())
        try:
            await asyncio.wait((comparing, standing), return_when=asyncio.FIRST_COMPLETED)
            await self.let_go()
            return await comparing
        finally:
            standing.cancel()
            comparing.cancel()

    async def _is_behind(self, wanted: Mapping[int, int]) -> bool:
        mine = await places(self._subject, self._new)
        return all(mine[lane] <= place for lane, place in wanted.items())

    def _may_move(self, board: Board) -> bool:
        """Whether anybody works on the live one now: a living worker, or appends that fold it too."""
        is_folded = self._subject.definition.mode == "inline" and self._old.fits(self._subject.definition.tables)
        return is_folded or any(self._old.number in one.takes for one in board.workers)


async def places(subject: Subject, one: Generation) -> Mapping[int, int]:
    """Return how far each lane of a generation is, by lane."""
    found = await subject.views.places(subject.name, one.number)
    return {lane: place.position for lane, place in enumerate(found)}


def _as_lanes(places: Mapping[int, int], lanes: int) -> Mapping[int, int] | None:
    """The places of one generation's lanes as another's with so many lanes; None where the two do not fit."""
    if len(places) == lanes:
        return places
    stand = set(places.values())
    return dict.fromkeys(range(lanes), stand.pop()) if len(stand) == 1 else None
