"""A projection built again beside the one that is read: built, indexed, caught up, compared at one position, swapped.

Rule: every step finds by itself what is done already, so that whoever was killed is gone on from by running it again;
nothing that is read changes before the swap, and a swap is one row.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from diptych.errors import SwapRefusedError
from diptych.projections.backfill import Backfill, Subject
from diptych.store.generations import Comparison, Generation
from diptych.store.leases import Board

Stage = Literal["begin", "build", "index", "catch up", "compare", "swap"]
Tell = Callable[[Stage, int, int], None]
"""Hear how far a stage is, and of how much."""
Jobs = Callable[[Generation, int], Awaitable[None]]
"""Build all lanes of a generation up to a position, in as many processes as it likes."""
Decide = Callable[[Generation | None, Generation, Comparison | None], Awaitable[bool]]
"""Say whether to swap the old for the new; no comparison: they could not be compared."""

_NEAR: Final = 500  # events behind the log's end from which on the rest is a matter of a moment
_PAUSE: Final = 10.0  # seconds that the live generation stands at most, should this process end meanwhile
_TRIES: Final = 40
_AGAIN: Final = 0.05


class Rebuilt(NamedTuple):
    """How it ended. `old` is None where nothing was read before; `is_swapped` False: `new` waits to be swapped in."""

    new: Generation
    old: Generation | None
    comparison: Comparison | None
    is_swapped: bool
    parked: int


class Rebuild:
    """One rebuild of one projection."""

    def __init__(self, subject: Subject, jobs: Jobs, tell: Tell) -> None:
        """`jobs` builds the bulk; what comes after it is done here."""
        self._subject, self._jobs, self._tell = subject, jobs, tell
        self._generations, self._leases = subject.views.generations, subject.views.leases

    async def run(self, decide: Decide, *, compares: bool = True) -> Rebuilt:
        """Do all of it, or what is left of it.

        :raises ProjectionError: an event that cannot be applied, nor put aside.
        """
        name = self._subject.name
        new = await self._generations.begin(self._subject.definition.tables)
        self._tell("begin", 1, 1)
        old = next((one for one in await self._generations.all(name) if one.state == "live"), None)
        moves = old is not None and self._may_move(old, await self._leases.board())
        comparison = None
        if compares and old is not None and not moves:
            comparison = await self._build_to_what_stands(old, new)
        await self._build_to_the_end(new)
        async with Backfill(self._subject, new.number) as builder:
            await builder.take(range(new.lanes))
            await self._near(builder)
            if compares and old is not None and moves:
                comparison = await self._compare_while_it_moves(builder, old, new)
            parked = len({one.key for one in await self._subject.views.parked(name, new.number)})
            is_swapped = await decide(old, new, comparison)
            if is_swapped:
                await self._swap(builder, old, new)
        return Rebuilt(new, old, comparison, is_swapped, parked)

    def _may_move(self, old: Generation, board: Board) -> bool:
        """Whether anybody works on the live generation now: a living worker, or appends that fold it too."""
        is_fit = old.fits(self._subject.definition.tables)
        return any(old.number in one.takes for one in board.workers) or (
            self._subject.definition.mode == "inline" and is_fit
        )

    async def _build_to_what_stands(self, old: Generation, new: Generation) -> Comparison | None:
        """Where nobody works on the live generation, the place to compare at is where it stands."""
        places = await self._places(old)
        mine = await self._places(new)
        wanted = _as_lanes(places, new.lanes)
        if wanted is None or any(mine[lane] > wanted[lane] for lane in mine):
            return None
        await self._bulk(new, min(wanted.values()))
        async with Backfill(self._subject, new.number) as builder:
            await builder.take(range(new.lanes))
            await builder.align(wanted)
        return await self._compare(old, new)

    async def _build_to_the_end(self, new: Generation) -> None:
        await self._bulk(new, (await self._subject.events.head()).position)
        self._tell("index", 0, 1)
        await self._generations.index(self._subject.name, new.number)
        self._tell("index", 1, 1)

    async def _bulk(self, new: Generation, upto: int) -> None:
        building = asyncio.ensure_future(self._jobs(new, upto))
        try:
            while not building.done():
                await asyncio.wait((building,), timeout=0.2)
                done = await self._places(new)
                self._tell("build", sum(done.values()) // max(len(done), 1), upto)
            await building
        finally:
            if not building.done():
                building.cancel()
                await asyncio.wait((building,))

    async def _near(self, builder: Backfill) -> None:
        """Follow the log until its end is a matter of a moment; what is far behind takes several rounds."""
        while True:
            head = (await self._subject.events.head()).position
            left = head - builder.progress.position
            self._tell("catch up", builder.progress.position, head)
            await builder.build(head)
            if left <= _NEAR:
                return

    async def _compare_while_it_moves(self, builder: Backfill, old: Generation, new: Generation) -> Comparison | None:
        """Hold the live one for a moment, until a snapshot of both at one place stands."""
        for _ in range(_TRIES):
            if await self._hold(builder, old, new):
                compared = await self._compare_and_let_go(old, new)
                await builder.take(range(new.lanes))
                if compared.is_at_one_position:
                    return compared
        return None

    async def _compare_and_let_go(self, old: Generation, new: Generation) -> Comparison:
        """Compare; from the moment that the snapshot stands, the live one may move again."""
        loop, opened = asyncio.get_running_loop(), asyncio.Event()

        def stands() -> None:
            loop.call_soon_threadsafe(opened.set)

        comparing = asyncio.ensure_future(self._compare(old, new, stands))
        standing = asyncio.ensure_future(opened.wait())
        try:
            await asyncio.wait((comparing, standing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            standing.cancel()
            await self._leases.resume(self._subject.name)
        return await comparing

    async def _hold(self, builder: Backfill, old: Generation, new: Generation) -> bool:
        """Pause the live generation and bring the new one to where it stands. False: it moved meanwhile."""
        await self._leases.pause(
            self._subject.name, _PAUSE, reason=f"generation {new.number} is held against it", by=""
        )
        await asyncio.sleep(_AGAIN)
        places = await self._places(old)
        wanted = _as_lanes(places, new.lanes)
        mine = await self._places(new)
        if wanted is None or any(mine[lane] > wanted[lane] for lane in mine):
            await self._leases.resume(self._subject.name)
            await asyncio.sleep(_AGAIN)
            return False
        await builder.align(wanted)
        if await self._places(old) == places:
            return True
        await builder.take(range(new.lanes))
        return False

    async def _compare(self, old: Generation, new: Generation, opened: Callable[[], None] | None = None) -> Comparison:
        self._tell("compare", 0, 1)
        compared = await self._generations.compare(self._subject.name, old.number, new.number, opened=opened)
        self._tell("compare", 1, 1)
        return compared

    async def _swap(self, builder: Backfill, old: Generation | None, new: Generation) -> None:
        """Catch up and swap; while the live one moves on, it is held for the last step."""
        for attempt in range(_TRIES):
            await builder.build((await self._subject.events.head()).position)
            try:
                await self._generations.swap(self._subject.name, new.number)
                break
            except SwapRefusedError:
                if attempt == _TRIES - 1 or old is None:
                    raise
                await self._leases.pause(
                    self._subject.name, _PAUSE, reason=f"generation {new.number} takes over", by=""
                )
                await asyncio.sleep(_AGAIN)
        await self._leases.resume(self._subject.name)
        self._tell("swap", 1, 1)

    async def _pause(self, reason: str) -> None:
        """Let the live one stand for a moment; its owners see it with their next look."""
        await self._leases.pause(self._subject.name, _PAUSE, reason=reason, by="")
        await asyncio.sleep(_AGAIN)

    async def _places(self, one: Generation) -> Mapping[int, int]:
        found = await self._subject.views.places(self._subject.name, one.number)
        return {lane: place.position for lane, place in enumerate(found)}


def _as_lanes(places: Mapping[int, int], lanes: int) -> Mapping[int, int] | None:
    """The places of one generation's lanes as another's with so many lanes; None where the two do not fit."""
    if len(places) == lanes:
        return places
    stand = set(places.values())
    return dict.fromkeys(range(lanes), stand.pop()) if len(stand) == 1 else None


def build_here(subject: Subject) -> Jobs:
    """Return what builds in this process."""

    async def build(generation: Generation, upto: int) -> None:
        async with Backfill(subject, generation.number) as builder:
            await builder.take(range(generation.lanes))
            await builder.build(upto)

    return build


def in_halves(lanes: int, jobs: int) -> Sequence[Sequence[int]]:
    """Divide lanes among so many jobs, as evenly as can be; no job without a lane."""
    jobs = max(1, min(jobs, lanes))
    return [range(first, lanes, jobs) for first in range(jobs)]
