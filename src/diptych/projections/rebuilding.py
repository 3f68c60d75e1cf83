"""A projection built again beside the one that is read: built, compared at one position, indexed, caught up, swapped.

Rule: every step finds by itself what is done already, so that whoever was killed is gone on from by running it again;
nothing that is read changes before the swap, and a swap is one row.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Literal, NamedTuple

from diptych.errors import (
    BuildStoppedError,
    DataError,
    RebuildRefusedError,
    StoreError,
    SwapRefusedError,
    UnknownEventTypeError,
)
from diptych.projections.backfill import Backfill, Subject
from diptych.projections.choosing import built_by_others
from diptych.projections.levelling import Levelling, places
from diptych.store.generations import Comparison, Generation
from diptych.subscriptions.place import where

Stage = Literal["begin", "build", "index", "catch up", "compare", "swap"]
Tell = Callable[[Stage, int, int], None]
"""Hear how far a stage is, and of how much."""
Jobs = Callable[[Generation, int], Awaitable[None]]
"""Build all lanes of a generation up to a position, in as many processes as it likes."""
Decide = Callable[[Generation | None, Generation, Comparison | None], Awaitable[bool]]
"""Say whether to swap the old for the new; no comparison: they could not be compared, or were not to be."""

_NEAR: Final = 500  # events behind the log's end from which on the rest is a matter of a moment
_FEW: Final = 2000  # events that are built sooner than a process is started
_AGAIN: Final = 0.05
_LOOK: Final = 0.2


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
        self._generations = subject.views.generations

    async def run(self, decide: Decide, *, compares: bool = True) -> Rebuilt:
        """Do all of it, or what is left of it.

        :raises BuildStoppedError: an event cannot be applied, nor put aside. :raises RebuildRefusedError: somebody
        else builds it.
        """
        await self._refuse_if_others_build()
        try:
            return await self._run(decide, compares=compares)
        except (DataError, UnknownEventTypeError) as error:
            raise BuildStoppedError(self._subject.name, str(error)) from error

    async def _run(self, decide: Decide, *, compares: bool) -> Rebuilt:
        name = self._subject.name
        new = await self._generations.begin(self._subject.definition.tables)
        self._tell("begin", 1, 1)
        old = next((one for one in await self._generations.all(name) if one.state == "live"), None)
        comparison = await self._compare(old, new) if compares and old is not None else None
        await self._bulk(new, (await self._subject.events.head()).position)
        self._tell("index", 0, 1)
        await self._generations.index(name, new.number)
        self._tell("index", 1, 1)
        async with Backfill(self._subject, new.number) as builder:
            await builder.take(range(new.lanes))
            await self._near(builder)
            await builder.mend()
            parked = len({one.key for one in await self._subject.views.parked(name, new.number)})
            is_swapped = await decide(old, new, comparison)
            if is_swapped:
                await self._swap(builder, old, new)
        return Rebuilt(new, old, comparison, is_swapped, parked)

    async def _refuse_if_others_build(self) -> None:
        """:raises RebuildRefusedError: what other code builds would be dropped under its hands."""
        board = await self._subject.views.leases.board()
        for one, worker in built_by_others(self._subject.definition.tables, board):
            raise RebuildRefusedError(
                self._subject.name,
                f"{where(worker)} builds generation {one.number} with other code; wait until it is read, or end that",
            )

    async def _compare(self, old: Generation, new: Generation) -> Comparison | None:
        """Build up to where the live one is, and compare there."""
        there = min((await places(self._subject, old)).values())
        await self._bulk(new, there)
        async with Backfill(self._subject, new.number) as builder:
            await builder.take(range(new.lanes))
            await builder.build(there)
            await builder.mend()
            self._tell("compare", 0, 1)
            compared = await Levelling(self._subject, old, new).compare(builder)
            self._tell("compare", 1, 1)
            return compared

    async def _bulk(self, new: Generation, upto: int) -> None:
        """Have most of it built by the jobs; a few events are left to whoever comes next."""
        if upto - min((await places(self._subject, new)).values()) < _FEW:
            return
        building = asyncio.ensure_future(self._jobs(new, upto))
        try:
            while not building.done():
                await asyncio.wait((building,), timeout=_LOOK)
                with suppress(StoreError):  # those who build wait for it
                    done = await places(self._subject, new)
                    self._tell("build", sum(done.values()) // max(len(done), 1), upto)
            await building
        finally:
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
                self._tell("catch up", head, head)
                return

    async def _swap(self, builder: Backfill, old: Generation | None, new: Generation) -> None:
        """Catch up and swap; if the live one moves on too fast for that, it is held for the last step."""
        level = None if old is None else Levelling(self._subject, old, new)
        over = time.monotonic() + 4 * self._subject.pace.hold
        try:
            while True:
                await builder.build((await self._subject.events.head()).position)
                try:
                    await self._generations.swap(self._subject.name, new.number)
                    break
                except SwapRefusedError:
                    is_there = new.number in {one.number for one in await self._generations.all(self._subject.name)}
                    if level is None or not is_there or time.monotonic() > over:
                        raise
                    await level.hold()
                    await asyncio.sleep(_AGAIN)
        finally:
            if level is not None:
                await level.let_go()
        self._tell("swap", 1, 1)


def build_here(subject: Subject) -> Jobs:
    """Return what builds in this process."""

    async def build(generation: Generation, upto: int) -> None:
        async with Backfill(subject, generation.number) as builder:
            await builder.take(range(generation.lanes))
            await builder.build(upto)

    return build


def in_halves(lanes: int, jobs: int) -> Sequence[Sequence[int]]:
    """Divide lanes among so many jobs, as evenly as can be; no job without a lane.

    Those of a job are next to one another, so that it reads one range of slices.
    """
    jobs = max(1, min(jobs, lanes))
    return [range(job * lanes // jobs, (job + 1) * lanes // jobs) for job in range(jobs)]
