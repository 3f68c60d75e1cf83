"""Keys that were put aside: the failing event of each, and all later ones of the same key waiting behind it.

Rule: a key's events are applied in order or not at all; other keys never wait for it (P7).
"""

from collections.abc import Sequence
from typing import Self

from diptych.events.recorded import StoredEvent
from diptych.projections.batch import Draft, draft_parked
from diptych.projections.plan import Definition
from diptych.store.batches import ParkedEvent
from diptych.store.protocols import ViewStore
from diptych.subscriptions.reading import LogReader
from diptych.subscriptions.thread import WorkThread


class Parked:
    """Which keys wait, each from which position on, and why."""

    def __init__(self, events: Sequence[ParkedEvent] = ()) -> None:
        self.since: dict[str, int] = {}
        self.errors: dict[int, str] = {}
        self._events = list(events)
        for event in events:
            self.since.setdefault(event.key, event.position)
            if event.error:
                self.errors[event.position] = event.error

    def copy(self) -> Self:
        """Return a copy to try a batch with; it takes the place of this one when the batch is committed."""
        other = type(self)()
        other.since, other.errors, other._events = dict(self.since), dict(self.errors), self._events
        return other

    def add(self, at: StoredEvent, why: str) -> None:
        """Put the event's key aside, from this event on."""
        self.since.setdefault(at.stream_id, at.position)
        self.errors[at.position] = why

    def release(self, key: str) -> None:
        """Its events are applied."""
        self.errors.pop(self.since.pop(key), None)

    def by_key(self) -> list[tuple[str, list[int]]]:
        """Return the keys, and where the events of each stand, as they were loaded."""
        return [(key, [event.position for event in self._events if event.key == key]) for key in self.since]

    def waiting(self, batch: Draft) -> list[ParkedEvent]:
        """Return the events of a batch that are to be kept aside."""
        return [ParkedEvent(key, position, self.errors.get(position, "")) for key, position in batch.waiting]

    @property
    def error(self) -> str | None:
        """Why the first of them failed."""
        return next((self.errors[since] for since in sorted(self.since.values()) if since in self.errors), None)


async def fold_key(
    definition: Definition, positions: Sequence[int], reader: LogReader, views: ViewStore, thread: WorkThread
) -> Draft:
    """Fold all parked events of one key. :raises EventFailure: one of them still fails."""
    found = [await reader.at(position) for position in positions]
    events = [event for event in found if event is not None]
    batch = await thread.run(draft_parked, definition, reader.codec, events)
    if batch.loads:
        await thread.run(batch.finish, await views.load(batch.loads))
    return batch
