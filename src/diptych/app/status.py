"""What an operator asks first: how far everything is, and what is wrong."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from diptych.store.protocols import EventStore, Head
from diptych.subscriptions.lag import lag_of
from diptych.subscriptions.progress import Progress


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """One projection. `lag_seconds`: age of the oldest event not applied; `idle_seconds`: since its loop turned."""

    name: str
    mode: str
    state: str
    position: int
    lag_events: int
    lag_seconds: float
    parked: int
    error: str | None
    idle_seconds: float
    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The log's end and every projection, measured against the store now and not from memory."""

    head: int
    projections: tuple[ProjectionStatus, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each projection that is stopped or has parked keys."""
        return tuple(
            f"{one.name} is {one.state} at position {one.position}: {one.error}"
            for one in self.projections
            if one.state in ("stopped", "parked")
        )


async def measure(events: EventStore, progress: Mapping[str, Progress]) -> Status:
    """Compare every projection with the end of the log as it is now. :raises StoreError: it cannot be read."""
    head = await events.head()
    return Status(head.position, tuple([await _one(events, head, progress[name]) for name in sorted(progress)]))


async def _one(events: EventStore, head: Head, progress: Progress) -> ProjectionStatus:
    lag = await lag_of(events, progress.position, head=head)
    return ProjectionStatus(
        name=progress.name,
        mode=progress.mode,
        state=progress.state,
        position=progress.position,
        lag_events=lag.events,
        lag_seconds=lag.seconds,
        parked=progress.parked,
        error=progress.error,
        idle_seconds=time.monotonic() - progress.heartbeat,
        tables=progress.tables,
    )
