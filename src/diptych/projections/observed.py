"""A projection's loop that tells an observer of each batch."""

from diptych.projections.plan import Definition
from diptych.projections.runner import Runner
from diptych.store.protocols import ViewStore
from diptych.subscriptions.reading import LogReader, Pace, SharedPage
from diptych.telemetry.observer import QUIET, Batch, Observer, watched


class ObservedRunner(Runner):
    """Tells of each batch once: whatever is parked or tried again within it is part of it."""

    def __init__(
        self, definition: Definition, views: ViewStore, reader: LogReader, pace: Pace, observer: Observer
    ) -> None:
        super().__init__(definition, views, reader, pace)
        self._observer = observer

    async def _take(self, page: SharedPage) -> None:
        start = self.progress.position - page.after
        batch = Batch(self.progress.name, rows=page.rows, start=start, takes=self.progress.event_types)
        with watched(self._observer.batch, batch):
            await super()._take(page)
            batch.outcome = "applied"


def runner_of(definition: Definition, views: ViewStore, reader: LogReader, pace: Pace, observer: Observer) -> Runner:
    """Return the loop of a projection; without an observer the plain one."""
    if observer is QUIET:
        return Runner(definition, views, reader, pace)
    return ObservedRunner(definition, views, reader, pace, observer)
