"""Lanes of a generation that nobody reads yet, carried along the log by a worker of their own.

Rule: it writes rows and checkpoints of its generation and nothing else; who is killed here is gone on from by the next.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Final, NamedTuple, Self

from diptych.clock import new_id
from diptych.errors import CheckpointMovedError, ProjectionError, StoreError
from diptych.events.codec import Codec
from diptych.projections.carrying import Carrier
from diptych.projections.plan import Definition
from diptych.projections.tenure import Leased
from diptych.projections.work import Work
from diptych.store.leases import Worker
from diptych.store.protocols import EventStore, ViewStore
from diptych.subscriptions.failures import Backoff, EventFailure, Remedy, remedy
from diptych.subscriptions.place import comes, goes, has_ended, this_place
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.reading import LogReader, Pace

_BEATS: Final = 4  # in the time of a lease
_LOOK: Final = 0.005  # seconds between two looks at a log that has not grown yet


class Subject(NamedTuple):
    """What a build works with. The stores are open, and stay the caller's to close."""

    definition: Definition
    events: EventStore
    views: ViewStore  # of the projection's rows
    codec: Codec
    pace: Pace

    @property
    def name(self) -> str:
        """The projection's."""
        return self.definition.name


class Backfill:
    """A worker that takes lanes of one generation and carries them as far as it is told."""

    def __init__(self, subject: Subject, generation: int) -> None:
        self._subject, self._generation, self._id = subject, generation, str(new_id())
        self._leases, name = subject.views.leases, subject.name
        self._reader = LogReader(subject.events, subject.codec, subject.pace)
        self.progress = Progress(name, subject.definition.mode)
        tenure = Leased(self._leases, self._id, name, generation)
        work = Work(subject.definition, generation, subject.views, self._reader, subject.pace, tenure)
        self._tenure, self._carrier = tenure, Carrier(work, self.progress)
        self._stack = AsyncExitStack()

    @property
    def parked(self) -> int:
        """How many keys were put aside in the lanes it has."""
        return len(self._carrier.parked.since)

    async def __aenter__(self) -> Self:
        comes(self._id)
        await self._beat()
        for work in (self._keep_alive(), self._reader.follow()):
            task = asyncio.create_task(work, name=f"build {self._subject.name}")
            self._stack.push_async_callback(_ended, task)
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(StoreError):
            await self._carrier.save(at_once=True)
        await self._stack.aclose()
        self._carrier.close()
        with suppress(StoreError):
            await self._leases.leave(self._id)
        goes(self._id)

    async def take(self, lanes: Collection[int]) -> None:
        """Claim these lanes; waits for the lease of whoever had them and is gone."""
        missing = set(lanes)
        while missing:
            held = await self._tenure.claim(missing)
            await self._carrier.take(held)
            missing -= {one.lane for one in held}
            if missing:
                await asyncio.sleep(self._subject.pace.lease / _BEATS)

    async def build(self, upto: int) -> None:
        """Carry all its lanes to a position of the log. While the store is away it waits, and goes on.

        :raises ProjectionError: an event that cannot be applied, nor put aside.
        """
        backoff = Backoff(self._subject.pace.first_pause, self._subject.pace.longest_pause)
        while any(lane.at.position < upto for lane in self._carrier.lanes.values()):
            try:
                if not await self._carrier.step(upto):
                    self._reader.check()
                    await asyncio.sleep(_LOOK)
                backoff.reset()
            except EventFailure as failure:
                raise failure.cause from failure
            except CheckpointMovedError:
                await self._take_again()
            except StoreError as error:
                if remedy(error) is not Remedy.PAUSE:
                    raise
                await asyncio.sleep(backoff.next())
                self._reader.forget()
        await self._carrier.save(at_once=True)

    async def align(self, places: Mapping[int, int]) -> None:
        """Carry each lane to its own place, none of which is behind where the lane stands."""
        for place in sorted(set(places.values())):
            await self.build(place)
            there = [lane for lane, at in places.items() if at == place]
            self._carrier.drop(there)
            await self._tenure.release(there)

    async def _take_again(self) -> None:
        lanes = list(self._carrier.lanes)
        self._carrier.drop(lanes)
        await self.take(lanes)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._subject.pace.lease / _BEATS)
            with suppress(StoreError):
                await self._beat()

    async def _beat(self) -> None:
        worker = Worker(self._id, this_place(), frozenset({self._generation}))
        board = await self._leases.beat(worker, self._subject.pace.lease)
        dead = [one.id for one in board.workers if has_ended(one)]
        if dead:
            await self._leases.beat(worker, self._subject.pace.lease, dead=dead)


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait((task,))


def why(error: ProjectionError) -> str:
    """Say what keeps a build from going on, and what to do."""
    return f"{error} Mend the handler and run the same command again: it goes on from there."
