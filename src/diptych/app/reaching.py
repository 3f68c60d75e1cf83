"""Which generations of a projection an operator's word is for: what is read, and what is built beside it and stands.

Rule: pure; what is asked of a generation that nobody can take is answered by nobody.
"""

from collections.abc import Mapping, Sequence

from diptych.projections.plan import Definition
from diptych.store.batches import ParkedEvent
from diptych.store.generations import Generation
from diptych.store.leases import Board, Verb

Parked = Mapping[int, Sequence[ParkedEvent]]
"""What is parked, by generation."""


def candidates(board: Board, definition: Definition) -> Sequence[Generation]:
    """Return what is read, and what is built for this code."""
    mine = [one for one in board.generations if one.projection == definition.name]
    return [one for one in mine if one.state == "live" or (one.state == "building" and one.fits(definition.tables))]


def reached(
    board: Board, definition: Definition, parked: Parked, verb: Verb, position: int = 0
) -> Sequence[Generation]:
    """Return the generations whose owners are to be asked.

    What is read is not among them where only what is built stands: before the event that shall be left out, or as
    nobody works on what other code made.
    """
    among, is_skip = candidates(board, definition), verb == "skip"
    stands = _standing(board, position if is_skip else 0)
    stands |= {
        number for number, events in parked.items() if any(not is_skip or e.position == position for e in events)
    }
    is_inline = definition.mode == "inline"  # nothing is noted on its lanes
    built = [one for one in among if one.state == "building" and (is_inline or one.number in stands)]
    taken = {number for worker in board.workers for number in worker.takes}
    live = [one for one in among if one.state == "live"]
    if built:
        live = [one for one in live if one.fits(definition.tables) or one.number in taken or is_inline]
        live = [one for one in live if one.number in stands or is_inline or not is_skip]
    return [*live, *built]


def _standing(board: Board, position: int) -> set[int]:
    """Those that say so, and those that a rebuild left before the event at a position."""
    alive = {worker.id for worker in board.workers}
    return {
        row.generation
        for row in board.lanes
        if row.trouble or (row.owner not in alive and row.checkpoint.position == position - 1)
    }
