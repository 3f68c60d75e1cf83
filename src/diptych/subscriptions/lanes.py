"""Which lane an event is in.

Rule: by the id of its stream alone. Streams of two categories may share an id, and then an isolated projection keeps
one row for both: two lanes would lose changes to it.
"""

from typing import Final
from zlib import crc32

from diptych.stream import SLICES

LANES: Final = 16
"""Of every isolated projection, for ever: a lane is never split or merged."""


def lane_of(stream_id: str, lanes: int) -> int:
    """Return the lane, 0 and up, of so many that a stream's events are in."""
    return 0 if lanes == 1 else crc32(stream_id.encode()) % SLICES // (SLICES // lanes)
