"""How old an answer is, said from the snapshot that it was read in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from diptych.events.recorded import from_microseconds
from diptych.read.read_models import ReadModels
from diptych.store.protocols import Checkpoint
from diptych.stream import token
from diptych.subscriptions.progress import Progress


@dataclass(frozen=True, slots=True)
class Fresh:
    """Where the rows of an answer stand: the least of all projections that they came from."""

    position: int = 0
    event_id: bytes = b""
    time: datetime | None = None
    age: float = 0.0
    reason: str | None = None

    @property
    def token(self) -> str:
        """The place as an opaque string, to be given as `after=`."""
        return token(self.position, self.event_id)


async def fresh(models: ReadModels, projections: Sequence[Progress], before: Mapping[str, int]) -> Fresh:
    """Say where these projections stood in the snapshot of `models`.

    `before`: their positions as known before it opened. A projection that had scanned further than its checkpoint
    found nothing of interest there, so its rows are good up to that position.
    """
    if not projections:
        return Fresh()
    least: Checkpoint | None = None
    for progress in projections:
        at = (await models.freshness(progress.name)).checkpoint
        if before.get(progress.name, 0) > at.position:
            at = Checkpoint(before[progress.name], at.epoch, progress.event_id, progress.recorded_at)
        if least is None or at.position < least.position:
            least = at
    assert least is not None
    time = from_microseconds(least.recorded_at) if least.recorded_at else None
    return Fresh(least.position, least.event_id, time, max(p.lag_seconds() for p in projections), _reason(projections))


def _reason(projections: Sequence[Progress]) -> str | None:
    states = {progress.state for progress in projections}
    if "stopped" in states:
        return "stopped"
    return "parked" if "parked" in states else None
