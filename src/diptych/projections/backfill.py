"""Lanes of a generation that nobody reads yet, carried along the log by a worker of their own.

Rule: it writes rows and checkpoints of its generation and nothing else; who is killed here is gone on from by the next.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Final, NamedTuple, Self

from diptych.clock import new_id
from diptych.errors import CheckpointMovedError, RebuildRefusedError, StoreError
from diptych.events.codec import Codec
from diptych.projections.alone import Alone
from diptych.projections.carrying import Carrier
from diptych.projections.leaving_out import left_out
from diptych.projections.mending import Mender
from diptych.projections.plan import Definition
from diptych.projections.tenure import Leased
from diptych.projections.work import Work
from diptych.store.leases import Board, Request, Worker
from diptych.store.protocols import EventStore, ViewStore
from diptych.subscriptions.failures import OF_THE_STORE, Backoff, EventFailure, LostTail, Remedy, remedy
from diptych.subscriptions.lanes import slices_of
from diptych.subscriptions.place import comes, goes, has_ended, this_place, where
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.reading import LogReader, Pace

_BEATS: Final = 4  # in the time of a lease
_ENDING: Final = 2.0  # seconds that a process which is told to end may take, at least


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
        work = Work(subject.definition, generation, subject.views, self._reader, subject.pace, tenure, Alone())
        self._tenure, self._carrier = tenure, Carrier(work, self.progress)
        self._mender = Mender(self._carrier)
        self._stack = AsyncExitStack()
        self._mine: frozenset[int] = frozenset()  # the lanes that it was ever told to take: it reads no others

    @property
    def parked(self) -> int:
        """How many keys were put aside in the lanes it has."""
        return len(self._carrier.parked.since)

    async def __aenter__(self) -> Self:
        comes(self._id)
        try:
            await self._beat()
        except BaseException:
            goes(self._id)
            raise
        task = asyncio.create_task(self._keep_alive(), name=f"build {self._subject.name}")
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
        """Claim these lanes; waits for the lease of whoever had them and is gone, or ends now.

        :raises RebuildRefusedError: somebody alive keeps them, or the generation is gone.
        """
        missing, lease = set(lanes), self._subject.pace.lease
        self._mine |= missing
        self._reader.read_only(slices_of(self._mine, self._subject.definition.tables.lanes))
        over = time.monotonic() + max(2 * lease, lease + _ENDING)
        while missing:
            held = await self._tenure.claim(missing)
            await self._carrier.take(held)
            await self._mender.look([one.lane for one in held])
            missing -= {one.lane for one in held}
            if missing:
                self._look_for_others(await self._beat(), missing, is_late=time.monotonic() > over)
                await asyncio.sleep(min(lease / _BEATS, 0.2))

    async def mend(self) -> None:
        """Try what is parked in its lanes again, unless that did harm: the code may have been mended.

        What still fails and was once left out for ever, on somebody's word, is left out again.
        """
        await self._mender.try_unasked(self._carrier.lanes)
        parked = self._carrier.parked
        if not parked.since:
            return
        for position in await left_out(self._subject.views, self._subject.name):
            event = parked.at(position)
            if event is not None and event.error:
                await self._mender.skip(self._carrier.lanes[event.lane], position, 0)
        for request in await self._asked_to_skip():
            if parked.at(request.position) is not None:
                await self._skip(request, 0)

    async def _goes_past(self, failure: EventFailure) -> bool:
        """Leave an event that stops the build out, if it was left out before, or somebody has asked for that."""
        if failure.position in await left_out(self._subject.views, self._subject.name):
            await self._carrier.pass_over(failure.position)
            return True
        asked = [one for one in await self._asked_to_skip() if one.position == failure.position]
        return any([await self._skip(one, failure.position) for one in asked])

    async def _asked_to_skip(self) -> Sequence[Request]:
        """Return what is asked of the owners of its lanes: while it does not run, such words wait for it."""
        requests, number = (await self._leases.board()).requests, self._generation
        mine = [one for one in requests if one.generation == number and one.lane in self._carrier.lanes]
        return [one for one in mine if one.verb == "skip"]

    async def _skip(self, request: Request, halted: int) -> bool:
        done = await self._mender.skip(self._carrier.lanes[request.lane], request.position, halted, request.id)
        await self._leases.settle(request.id, done.outcome)
        return done.has_effect

    def _look_for_others(self, board: Board, lanes: Collection[int], *, is_late: bool) -> None:
        """:raises RebuildRefusedError: it is in vain to wait for these lanes."""
        name, number = self._subject.name, self._generation
        owners = {row.owner for row in board.lanes if row.generation == number and row.lane in lanes}
        if not any(one.number == number for one in board.generations):
            why = f"generation {number} is gone: it was dropped, or other code began another"
            raise RebuildRefusedError(name, why)
        alive = [one for one in board.workers if one.id in owners]
        if alive and is_late:
            who = ", ".join(sorted({where(one) for one in alive}))
            why = f"generation {number} is being built already, by {who}; wait until it is done, or end that first"
            raise RebuildRefusedError(name, why)

    async def build(self, upto: int) -> None:
        """Carry all its lanes to a position of the log. While the store is away it waits, and goes on.

        :raises ProjectionError: an event that cannot be applied, nor put aside. :raises RebuildRefusedError: somebody
        else has its lanes now.
        """
        backoff = Backoff(self._subject.pace.first_pause, self._subject.pace.longest_pause)
        lanes = frozenset(self._carrier.lanes)
        while True:
            try:
                await self.take(lanes - self._carrier.lanes.keys())
                if all(lane.at.position >= upto for lane in self._carrier.lanes.values()):
                    await self._carrier.save(at_once=True)
                    return
                if self._reader.head.position < upto:
                    await self._reader.look()
                if not await self._carrier.step(upto):
                    await asyncio.sleep(self._subject.pace.poll)
                backoff.reset()
            except EventFailure as failure:
                if not await self._goes_past(failure):
                    raise failure.cause from failure
            except (CheckpointMovedError, LostTail):
                self._reader.forget()
                self._carrier.drop(lanes)
            except OF_THE_STORE as error:
                if remedy(error) is not Remedy.PAUSE:
                    raise
                await asyncio.sleep(backoff.next())
                self._reader.forget()
                self._carrier.drop(lanes)  # it may have been written all the same

    async def align(self, places: Mapping[int, int]) -> None:
        """Carry each lane to its own place, none of which is behind where the lane stands."""
        for place in sorted(set(places.values())):
            await self.build(place)
            there = [lane for lane, at in places.items() if at == place]
            self._carrier.drop(there)
            await self._tenure.release(there)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._subject.pace.lease / _BEATS)
            with suppress(StoreError):
                await self._beat()

    async def _beat(self) -> Board:
        worker = Worker(self._id, this_place(), frozenset({self._generation}))
        board = await self._leases.beat(worker, self._subject.pace.lease)
        dead = [one.id for one in board.workers if has_ended(one)]
        if dead:
            board = await self._leases.beat(worker, self._subject.pace.lease, dead=dead)
        return board


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait((task,))
