"""How old an answer is, said from the snapshot that it was read in."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from diptych.read.read_models import ReadModels
from diptych.subscriptions.progress import HALTED, Progress


class Fresh(NamedTuple):
    """Where the rows of an answer stand: the least of all projections that they came from.

    `recorded_at` is of the event at `position`, in microseconds since 1970; `age` is in seconds. `is_of_another`: some
    rows came from another generation than the one whose progress this process knew when it began to read.
    """

    position: int = 0
    event_id: bytes = b""
    recorded_at: int = 0
    age: float = 0.0
    reason: str | None = None
    is_of_another: bool = False


NOT_ASKED: Final = Fresh()
_position = itemgetter(0)


class Known(NamedTuple):
    """Where a generation of a projection is, as this process knows it."""

    generation: int
    place: Fresh


NOTHING_KNOWN: Final = Known(0, NOT_ASKED)


def known_of(progress: Progress) -> Known:
    """Where a projection is now, as this process knows it."""
    return Known(progress.generation, Fresh(progress.position, progress.event_id, progress.recorded_at))


async def fresh(models: ReadModels, projections: Sequence[Progress], before: Mapping[Progress, Known]) -> Fresh:
    """Say where these projections stood in the snapshot of `models`.

    `before`: their places as known before it opened. A projection that had scanned further than its checkpoint
    found nothing of interest there, so its rows are good up to that position: those of that generation.
    """
    least: Fresh | None = None
    age, reason, is_of_another = 0.0, None, False
    for progress in projections:
        found = await models.freshness(progress.name)
        at, known = found.checkpoint, before.get(progress, NOTHING_KNOWN)
        place = Fresh(at.position, at.event_id, at.recorded_at)
        if known.generation == found.generation:
            place = max(place, known.place, key=_position)
        elif known is not NOTHING_KNOWN or progress.generation != found.generation:
            is_of_another = True
        least = place if least is None else min(least, place, key=_position)
        age = max(age, progress.lag_seconds())
        if progress.state in HALTED:
            reason = progress.state
        elif (found.parked or progress.state == "parked") and reason is None:
            reason = "parked"
    return NOT_ASKED if least is None else least._replace(age=age, reason=reason, is_of_another=is_of_another)
