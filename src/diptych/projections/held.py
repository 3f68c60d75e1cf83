"""The lanes of one generation that are worked on here, and which of them move next.

Rule: plain state; reading and writing is `carrying.py`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from diptych.events.recorded import StoredEvent
from diptych.store.batches import Checkpoint, LaneMove
from diptych.store.leases import Held


@dataclass(slots=True, eq=False)
class Lane:
    """A lane and where it is: `at` is what was applied or scanned, `saved` what of it is on disk, since `saved_at`.

    While `is_careful`, its events are applied alone, each in a transaction of its own: up to the position
    `careful_until`, which is 0 until the first of them is met. Who had the lane before ended while it tried the event
    at the position `attempt` alone; negative, if the one before that did too.
    """

    number: int
    epoch: int
    saved: Checkpoint
    at: Checkpoint
    is_careful: bool = False
    careful_until: int = 0
    attempt: int = 0
    saved_at: float = 0.0

    @classmethod
    def of(cls, held: Held) -> "Lane":
        """Take up a lane that was claimed."""
        attempt = 0 if held.is_clean else held.attempt  # what this process noted itself has not ended it
        return cls(held.lane, held.epoch, held.checkpoint, held.checkpoint, not held.is_clean, attempt=attempt)

    def tried(self, position: int) -> int:
        """Return the `attempt` to note at an event: negative, if whoever had the lane before ended on it, too."""
        return -position if self.attempt == position else position

    @property
    def move(self) -> LaneMove:
        """What is to be true on disk when the lane is moved."""
        return LaneMove(self.number, self.epoch, self.saved.position)

    @property
    def has_unsaved(self) -> bool:
        """Whether it has scanned more than is on disk."""
        return self.at.position > self.saved.position

    def scanned(self, last: StoredEvent) -> None:
        """Note that nothing of interest lies between what is on disk and this event, itself included."""
        self._moves(Checkpoint(last.position, self.epoch, last.event_id, last.recorded_at))

    def is_written(self, at: Checkpoint, now: float) -> None:
        """Note that this place is on disk."""
        self.saved, self.saved_at = at, now
        self._moves(at)

    def _moves(self, to: Checkpoint) -> None:
        self.at = to
        if self.careful_until and to.position >= self.careful_until:
            self.is_careful, self.careful_until = False, 0

    def take_care(self) -> None:
        """From here on, take events one by one for a while."""
        self.is_careful, self.careful_until = True, 0


class Group(NamedTuple):
    """Lanes that stand at one position and move together, up to `limit` (None: as far as it goes).

    `numbers` is None when they are all lanes of the generation: then every event is theirs.
    """

    lanes: Collection[Lane]
    at: Checkpoint
    limit: int | None
    numbers: frozenset[int] | None
    is_careful: bool


def hindmost(lanes: Collection[Lane], count: int) -> Group:
    """Return those that are furthest behind of a generation with so many lanes; careful ones go by themselves."""
    least = min([lane.at.position for lane in lanes])
    there = [lane for lane in lanes if lane.at.position == least]
    careful = [lane for lane in there if lane.is_careful]
    chosen = careful or there
    ahead = [lane.at.position for lane in lanes if lane.at.position > least]
    numbers = None if len(chosen) == count else frozenset([lane.number for lane in chosen])
    return Group(chosen, chosen[0].at, min(ahead, default=None), numbers, bool(careful))
