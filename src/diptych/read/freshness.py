"""How old an answer is, said from the snapshot that it was read in."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from diptych.read.read_models import ReadModels
from diptych.subscriptions.progress import Progress


class Fresh(NamedTuple):
    """Where the rows of an answer stand: the least of all projections that they came from.

    `recorded_at` is of the event at `position`, in microseconds since 1970; `age` is in seconds.
    """

    position: int = 0
    event_id: bytes = b""
    recorded_at: int = 0
    age: float = 0.0
    reason: str | None = None


NOT_ASKED: Final = Fresh()
_position = itemgetter(0)


def place_of(progress: Progress) -> Fresh:
    """Where a projection is now, as this process knows it."""
    return Fresh(progress.position, progress.event_id, progress.recorded_at)


async def fresh(models: ReadModels, projections: Sequence[Progress], before: Mapping[Progress, Fresh]) -> Fresh:
    """Say where these projections stood in the snapshot of `models`.

    `before`: their places as known before it opened. A projection that had scanned further than its checkpoint
    found nothing of interest there, so its rows are good up to that position.
    """
    least: Fresh | None = None
    age, reason = 0.0, None
    for progress in projections:
        at = (await models.freshness(progress.name)).checkpoint
        place = Fresh(at.position, at.event_id, at.recorded_at)
        place = max(place, before.get(progress, NOT_ASKED), key=_position)
        least = place if least is None else min(least, place, key=_position)
        age = max(age, progress.lag_seconds())
        if progress.state == "stopped" or (progress.state == "parked" and reason is None):
            reason = progress.state
    return NOT_ASKED if least is None else least._replace(age=age, reason=reason)
