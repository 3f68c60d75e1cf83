"""Which lane an event is in.

Rule: by the id of its stream alone. Streams of two categories may share an id, and then an isolated projection keeps
one row for both: two lanes would lose changes to it.
"""

from collections.abc import Collection
from typing import Final

from diptych.stream import SLICES, slice_of

LANES: Final = 16
"""Of every isolated projection, for ever: a lane is never split or merged."""


def lane_of(stream_id: str, lanes: int) -> int:
    """Return the lane, 0 and up, of so many that a stream's events are in."""
    return 0 if lanes == 1 else slice_of(stream_id) // (SLICES // lanes)


def slices_of(some: Collection[int], lanes: int) -> range | None:
    """Return slices that hold all events of some lanes, of so many, and maybe of lanes between; None: that is all."""
    width = SLICES // lanes
    found = range(min(some) * width, (max(some) + 1) * width)
    return None if len(found) == SLICES else found
