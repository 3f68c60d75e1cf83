"""Lanes whose batches and owners an observer is told of."""

from collections.abc import Collection, Sequence

from diptych.projections.carrying import Carrier
from diptych.projections.held import Group
from diptych.projections.tenure import Tenure
from diptych.projections.work import Work
from diptych.store.leases import Held
from diptych.subscriptions.failures import EventFailure
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.reading import SharedPage
from diptych.telemetry.observer import QUIET, Batch, Observer, watched


class ObservedCarrier(Carrier):
    """Tells of each batch once: whatever is parked or tried again within it is part of it."""

    async def _take(self, group: Group, page: SharedPage, indexes: range, blamed: EventFailure | None = None) -> None:
        takes = self.work.definition.takes
        batch = Batch(self.work.name, rows=page.rows[: indexes.stop], start=indexes.start, takes=takes)
        with watched(self.work.observer.batch, batch):
            await super()._take(group, page, indexes, blamed)
            batch.outcome = "applied"


class ObservedTenure:
    """Tells who takes lanes, and who lets go of them."""

    def __init__(self, tenure: Tenure, projection: str, observer: Observer) -> None:
        self._tenure, self._projection, self._observer = tenure, projection, observer

    async def claim(self, lanes: Collection[int]) -> Sequence[Held]:
        """Take these lanes; returns those that were to be had."""
        held = await self._tenure.claim(lanes)
        for one in held:
            self._observer.lease_changed(self._projection, one.lane, "taken")
        return held

    async def release(self, lanes: Collection[int], trouble: str | None = None) -> None:
        """Let go of them; `trouble` says why nobody can go on with them."""
        await self._tenure.release(lanes, trouble)
        for lane in lanes:
            self._observer.lease_changed(self._projection, lane, "released")

    async def mark(self, lane: int, *, attempt: int = 0, trouble: str = "") -> None:
        """Note what is tried, or why a lane stands."""
        await self._tenure.mark(lane, attempt=attempt, trouble=trouble)

    async def settle(self, request: int, outcome: str) -> None:
        """Note that a request is done, and how."""
        await self._tenure.settle(request, outcome)


def carrier_of(work: Work, progress: Progress) -> Carrier:
    """Return what carries lanes; without an observer the plain one."""
    return Carrier(work, progress) if work.observer is QUIET else ObservedCarrier(work, progress)


def tenure_of(tenure: Tenure, projection: str, observer: Observer) -> Tenure:
    """Return the tenure; without an observer as it is."""
    return tenure if observer is QUIET else ObservedTenure(tenure, projection, observer)
