"""Where a lane stands: what is read, what is written down, and the append that brings both together.

Rule: the epoch is asked for with every append, so that who lost the lane writes nothing (P5).
"""

import asyncio
from typing import Final

from diptych.events.recorded import StoredEvent
from diptych.store.batches import LaneMove, ViewBatch
from diptych.store.leases import Held
from diptych.store.protocols import Append, Appended
from diptych.subscriptions.apart import heard
from diptych.subscriptions.duty import Desk, Duty
from diptych.subscriptions.shelf import one_task
from diptych.subscriptions.tasks import start_of
from diptych.subscriptions.turn import Turn

SAVE: Final = 5.0
"""Seconds: progress without anything to write goes to disk at most this often."""


class LanePlace:
    """`position` is how far the log is read, under `event_id`, the id of the event there."""

    def __init__(self, duty: Duty, desk: Desk, held: Held) -> None:
        self._duty, self._desk, self.lane, self._epoch = duty, desk, held.lane, held.epoch
        self.position, _, self.event_id, self._recorded_at = held.checkpoint
        self._saved, self._saved_at = self.position, 0.0
        self._cut_at = (self.position, self.event_id, self._recorded_at)
        self._cut: asyncio.Future[Appended] | None = None  # a turn that was sent when who waited for it was cancelled

    async def begin(self) -> None:
        """Leave out what was in the log before the duty was first started."""
        id = start_of(self._duty.name)
        start = await one_task(self._desk.store, self._duty.tasks, self._desk.generation, id)
        if start is not None and start.number > self.position:
            self.position, self.event_id, self._recorded_at = start.number, bytes.fromhex(start.body), start.due_at

    async def commit(self, turn: Turn, *, to: StoredEvent | None = None, at_once: bool = False) -> None:
        """Write a turn, and where the lane stands, from then on at `to`. :raises CheckpointMovedError: another has it.

        The lane moves when that is written and not before: a turn that is broken off has taken in nothing (S1). A turn
        without anything is written now and then, or `at_once`: that it is written proves what was read before.
        """
        now = asyncio.get_running_loop().time()
        place = (self.position, self.event_id, self._recorded_at)
        if to is not None:
            place = (to.position, to.event_id, to.recorded_at)
        if turn.is_empty and not at_once and (place[0] == self._saved or now < self._saved_at + SAVE):
            self.position, self.event_id, self._recorded_at = place
            return
        moves = [LaneMove(self.lane, self._epoch, self._saved)]
        beside = ViewBatch(
            self._duty.name,
            self._desk.generation,
            moves,
            *place,
            turn.changes(),
            answer=turn.answer,
            guards=turn.guards,
        )
        writing = asyncio.ensure_future(self._desk.store.append(Append(turn.writes(), beside=beside)))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            self._cut, self._cut_at = writing, place
            writing.add_done_callback(heard)  # of a lane that is let go, nobody asks
            raise
        self.position, self.event_id, self._recorded_at = place
        self._saved, self._saved_at = self.position, now

    async def is_sure(self, seconds: float) -> bool:
        """Wait for a turn that was cut short. False: it may commit still, and nothing can be written on top of it."""
        if self._cut is None:
            return True
        await asyncio.wait((self._cut,), timeout=seconds)
        is_written = self._cut.done() and not self._cut.cancelled() and self._cut.exception() is None
        if is_written:
            self.position, self.event_id, self._recorded_at = self._cut_at
            self._saved, self._cut = self.position, None
        return is_written
