"""What somebody from outside sees of a service's projections, on any backend."""

from collections.abc import Sequence
from typing import NamedTuple

from diptych.events.recorded import StoredEvent
from diptych.store.batches import Checkpoint, ParkedEvent
from diptych.store.protocols import Head


class Watched(NamedTuple):
    """A projection to look for: its name, whether its rows are beside the log, and the stored names it acts on."""

    name: str
    is_inline: bool
    types: frozenset[str]


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
