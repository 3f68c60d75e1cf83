"""Keys that were put aside: the failing event of each, and all later ones of the same key waiting behind it.

Rule: a key's events are applied in order or not at all; other keys never wait for it (P7).
"""

from collections.abc import Collection, Sequence
from typing import Self

from diptych.events.recorded import StoredEvent
from diptych.projections.batch import Draft
from diptych.store.batches import ParkedEvent
from diptych.subscriptions.lanes import lane_of


class Parked:
    """Which keys wait, each from which position on, and why."""

    def __init__(self, lanes: int, events: Sequence[ParkedEvent] = (), left_out: frozenset[int] = frozenset()) -> None:
        """`lanes`: how many the projection has. `left_out`: positions that are not to be applied at all."""
        self.left_out = left_out
        self.since: dict[str, int] = {}
        self.errors: dict[int, str] = {}
        self._lanes, self._events = lanes, list(events)
        for event in events:
            self.since.setdefault(event.key, event.position)
            if event.error:
                self.errors[event.position] = event.error

    def copy(self) -> Self:
        """Return a copy to try a batch with; it takes the place of this one when the batch is committed."""
        other = type(self)(self._lanes, left_out=self.left_out)
        other.since, other.errors, other._events = dict(self.since), dict(self.errors), self._events
        return other

    def add(self, at: StoredEvent, why: str) -> None:
        """Put the event's key aside, from this event on."""
        self.since.setdefault(at.stream_id, at.position)
        self.errors[at.position] = why

    def release(self, key: str) -> None:
        """Its events are applied."""
        self.errors.pop(self.since.pop(key, 0), None)

    def forget(self, lanes: Collection[int]) -> None:
        """Know nothing of these lanes any more."""
        for key in self.keys(lanes):
            self.release(key)

    def lane(self, key: str) -> int:
        """Return the lane that a key is in."""
        return lane_of(key, self._lanes)

    def of(self, key: str) -> Sequence[ParkedEvent]:
        """Return the events of a key, as they were loaded."""
        return [event for event in self._events if event.key == key]

    def keys(self, lanes: Collection[int]) -> list[str]:
        """Return the keys of these lanes."""
        return [key for key in self.since if self.lane(key) in lanes]

    def at(self, position: int) -> ParkedEvent | None:
        """Return what is parked at a position, as it was loaded."""
        return next((event for event in self._events if event.position == position), None)

    def waiting(self, batch: Draft) -> list[ParkedEvent]:
        """Return the events of a batch that are to be kept aside."""
        return [
            ParkedEvent(key, position, self.errors.get(position, ""), self.lane(key)) for key, position in batch.waiting
        ]

    @property
    def error(self) -> str | None:
        """Why the first of them failed."""
        return next((self.errors[since] for since in sorted(self.since.values()) if since in self.errors), None)
