"""Lanes whose batches an observer is told of."""

from diptych.projections.batch import concerned
from diptych.projections.carrying import Carrier
from diptych.projections.held import Group
from diptych.projections.work import Work
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.reading import SharedPage
from diptych.telemetry.observer import QUIET, Batch, Observer, watched


class ObservedCarrier(Carrier):
    """Tells of each batch once: whatever is parked or tried again within it is part of it."""

    def __init__(self, work: Work, progress: Progress, observer: Observer) -> None:
        super().__init__(work, progress)
        self._observer = observer

    async def apply(self, group: Group, page: SharedPage, indexes: range) -> None:
        """Apply a piece of a page to some lanes."""
        rows, start = page.rows, indexes.start
        if group.numbers is not None or indexes.stop < len(rows):
            found = concerned(self.work.definition, page, indexes, group.numbers)
            rows, start = [page.rows[index] for index in found], 0
        batch = Batch(self.work.name, rows=rows, start=start, takes=self.work.definition.takes)
        with watched(self._observer.batch, batch):
            await super().apply(group, page, indexes)
            batch.outcome = "applied"


def carrier_of(work: Work, progress: Progress, observer: Observer) -> Carrier:
    """Return what carries the lanes of a projection; without an observer the plain one."""
    return Carrier(work, progress) if observer is QUIET else ObservedCarrier(work, progress, observer)
