"""Where a lane stands: what is read, what is written down, and the append that brings both together.

Rule: the epoch is asked for with every append, so that who lost the lane writes nothing (P5).
"""

import asyncio
from typing import Final

from diptych.events.recorded import StoredEvent
from diptych.store.batches import LaneMove, ViewBatch
from diptych.store.leases import Held
from diptych.store.protocols import Append
from diptych.subscriptions.duty import Desk, Duty
from diptych.subscriptions.tasks import Task
from diptych.subscriptions.turn import Turn

SAVE: Final = 5.0
"""Seconds: progress without anything to write goes to disk at most this often."""


class LanePlace:
    """`position` is how far the log is read, under `event_id`, the id of the event there."""

    def __init__(self, duty: Duty, desk: Desk, held: Held) -> None:
        self._duty, self._desk, self.lane, self._epoch = duty, desk, held.lane, held.epoch
        self.position, _, self.event_id, self._recorded_at = held.checkpoint
        self._saved, self._saved_at = self.position, 0.0

    def begin(self, start: Task) -> None:
        """Leave out what was in the log before the duty was first started."""
        if start.number > self.position:
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
        beside = ViewBatch(self._duty.name, self._desk.generation, moves, *place, turn.changes())
        await self._desk.store.append(Append(turn.writes(), beside=beside))
        self.position, self.event_id, self._recorded_at = place
        self._saved, self._saved_at = self.position, now
