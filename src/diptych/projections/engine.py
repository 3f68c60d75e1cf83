"""All projections of one process: started, watched and stopped together.

Rule: each runs by itself; whatever one of them does, the others and the appends go on (P7).
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

from diptych.errors import StaleReadError, StoreUnavailableError
from diptych.events.codec import Codec
from diptych.projections.inline import InlineFold
from diptych.projections.observed import runner_of
from diptych.projections.plan import Definition
from diptych.store.protocols import Appended, EventStore, ProjectionTables, ViewStore
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.reading import LogReader, Pace
from diptych.telemetry.observer import QUIET, Observer


class ProjectionEngine:
    """Runs projections over an open event store. The stores stay the caller's to open and close.

    Give `event_store.inline` and `view_store` the tables named by `inline_tables` and `async_tables` when opening them.
    """

    def __init__(
        self,
        event_store: EventStore,
        view_store: ViewStore,
        codec: Codec,
        definitions: Sequence[Definition],
        pace: Pace | None = None,
        observer: Observer = QUIET,
    ) -> None:
        for definition in definitions:
            for event in definition.events:
                codec.register(event)
        self._store, self._views, self._codec = event_store, view_store, codec
        self._definitions, self._pace = tuple(definitions), pace or Pace()
        self._reader = LogReader(event_store, codec, self._pace)
        self._runners = {
            d.name: runner_of(d, self._views_of(d), self._reader, self._pace, observer) for d in self._definitions
        }
        self._running: asyncio.Task[None] | None = None
        self.progress: Mapping[str, Progress] = {name: runner.progress for name, runner in self._runners.items()}
        self.inline: tuple[InlineFold, ...] = tuple(
            InlineFold(definition, codec) for definition in self._definitions if definition.mode == "inline"
        )

    @property
    def async_tables(self) -> tuple[ProjectionTables, ...]:
        """What the view store keeps."""
        return tuple(definition.tables for definition in self._definitions if definition.mode == "async")

    @property
    def inline_tables(self) -> tuple[ProjectionTables, ...]:
        """What commits with the log."""
        return tuple(definition.tables for definition in self._definitions if definition.mode == "inline")

    async def start(self) -> None:
        """Begin to run, and return when the inline projections stand at the head: from then on appends carry them.

        :raises StoreUnavailableError: one of them cannot get there, for its store fails again and again.
        """
        ready = asyncio.Event()
        self._running = asyncio.create_task(self._run(ready), name="diptych-projections")
        await ready.wait()
        head = (await self._store.head()).position
        for definition in self._definitions:
            if definition.mode == "inline":
                await self._bring_up(self.progress[definition.name], head)

    async def _bring_up(self, progress: Progress, head: int) -> None:
        stood, since = progress.saved, time.monotonic()
        while progress.state != "stopped" and progress.saved < head:
            await progress.wait_for(head, min(1.0, self._pace.start_patience))
            if progress.saved != stood or progress.error is None:
                stood, since = progress.saved, time.monotonic()
            elif time.monotonic() - since > self._pace.start_patience:
                raise StoreUnavailableError(
                    f"{progress.name} is inline and cannot be brought up to position {head}: {progress.error}"
                )

    async def stop(self) -> None:
        """Stop after what is being committed now. A handler that hangs is left behind on its thread."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait((running,))

    def retry(self, name: str) -> None:
        """Try the parked keys of a projection again, in order; a stopped one goes on from its checkpoint."""
        self._runners[name].retry()

    def appended(self, appended: Appended, events: int) -> None:
        """Note an append of this process that carried the inline projections: they stand at its last event."""
        for fold in self.inline:
            progress = self.progress[fold.name]
            if appended.position - events <= progress.position < appended.position:
                progress.advance(appended.position, appended.recorded_at, appended.event_id)

    async def caught_up(self, timeout: float = 5.0) -> None:
        """Return when every projection has on disk what is now in the log.

        :raises StaleReadError: one of them did not get there in time, or is stopped.
        """
        began = time.monotonic()
        head = (await self._store.head()).position
        for progress in self.progress.values():
            left = max(0.0, began + timeout - time.monotonic())
            if not await progress.wait_for(head, left):
                reason = "stopped" if progress.state == "stopped" else "behind"
                raise StaleReadError([progress.name], reason, time.monotonic() - began)

    def _views_of(self, definition: Definition) -> ViewStore:
        return self._store.inline if definition.mode == "inline" else self._views

    async def _run(self, ready: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            if self._runners:
                group.create_task(self._reader.follow(), name="diptych-log-reader")
            for name, runner in self._runners.items():
                group.create_task(runner.run(), name=f"diptych-projection-{name}")
            ready.set()
