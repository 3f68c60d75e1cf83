"""Which worker shall have which lane: decided by each for itself, from what all of them see.

Rule: pure; two workers that look at the same board never want the same lane.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from zlib import crc32

from diptych.store.generations import Generation
from diptych.store.leases import Board


class Share(NamedTuple):
    """A worker's part of a generation: the lanes it shall have, and those of them that nobody else alive still has.

    `over` are written down as this worker's and shall be another's. It may not know that it has them: a claim whose
    answer was lost took effect, or they were dropped in doubt and have another owner to be since.
    """

    lanes: frozenset[int] = frozenset()
    free: frozenset[int] = frozenset()
    over: frozenset[int] = frozenset()


def owners(generation: Generation, takers: Collection[str]) -> Sequence[str]:
    """Say who shall have each lane, by lane; nobody if none of the workers takes this generation.

    Round-robin over the sorted ids, and from a place that the projection's name gives, so that one-lane projections
    spread too.
    """
    ids = sorted(takers)
    if not ids:
        return []
    first = crc32(generation.projection.encode())
    return [ids[(first + lane) % len(ids)] for lane in range(generation.lanes)]


def share(board: Board, generation: Generation, worker: str) -> Share:
    """Return a worker's part of a generation."""
    takers = [one.id for one in board.workers if generation.number in one.takes]
    mine = frozenset(lane for lane, owner in enumerate(owners(generation, takers)) if owner == worker)
    others = {one.id for one in board.workers} - {worker}
    rows = [row for row in board.lanes if row.generation == generation.number]
    held = {row.lane for row in rows if row.owner in others}
    over = {row.lane for row in rows if row.owner == worker} - mine if worker else frozenset[int]()
    return Share(mine, mine - held, frozenset(over))
