"""What somebody from outside sees of a service's projections, on any backend."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from diptych.errors import OtherHistoryError
from diptych.events.recorded import StoredEvent
from diptych.store.batches import Checkpoint, ParkedEvent
from diptych.store.protocols import Head


class Watched(NamedTuple):
    """A projection to look for: its name, whether its rows are beside the log, and the stored names it acts on."""

    name: str
    is_inline: bool
    types: frozenset[str]


class Kept(NamedTuple):
    """What lies beside rows: the store they were made from, how far the furthest is, and where each stands."""

    place: str
    store_id: UUID
    furthest: int
    checkpoints: Mapping[str, Checkpoint]
    parked: Mapping[str, Sequence[ParkedEvent]]

    def check(self, store_id: UUID, head: Head) -> None:
        """:raises OtherHistoryError: these rows were made from another log than the one that ends here."""
        if self.store_id != store_id or self.furthest > head.position:
            raise OtherHistoryError(self.place, self.furthest)


class Seen(NamedTuple):
    """Where a projection stands on disk. `next` is the first event it has not applied, None when there is none."""

    name: str
    checkpoint: Checkpoint
    next: StoredEvent | None
    parked: Sequence[ParkedEvent]


class Look(NamedTuple):
    """What was seen, and where."""

    place: str
    head: Head
    projections: Sequence[Seen]
    trouble: str | None = None  # what keeps everybody from appending, as a sentence
