"""The loop of one projection: read, fold off the event loop, commit rows and checkpoint together.

Rule: nothing but cancellation leaves `run`; whatever goes wrong is in its `Progress` (P7).
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from diptych.errors import DiptychError, OtherHistoryError
from diptych.events.recorded import StoredEvent
from diptych.projections.batch import Draft, draft, draft_parked
from diptych.projections.plan import Definition
from diptych.store.protocols import Checkpoint, CheckpointMove, ParkedEvent, ViewBatch, ViewStore
from diptych.subscriptions.failures import Backoff, EventFailure, Remedy, may_be_parked, remedy
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.reading import LogReader, Pace, SharedPage
from diptych.subscriptions.thread import WorkThread

_log: Final = logging.getLogger("diptych.projections")


class Runner:
    """Keeps one projection at the end of the log."""

    def __init__(self, definition: Definition, views: ViewStore, reader: LogReader, pace: Pace) -> None:
        self._definition, self._views, self._reader, self._pace = definition, views, reader, pace
        tables = tuple(table.name for table in definition.tables.tables)
        self.progress = Progress(definition.name, definition.mode, tables, definition.takes)
        self._thread = WorkThread(f"diptych-{definition.name}")
        self._wake = asyncio.Event()
        self._retry = True  # after a start the code may be mended: parked keys get another try
        self._checkpoint = Checkpoint()
        self._parked: dict[str, int] = {}
        self._saved_at = 0.0
        self._unsaved: StoredEvent | None = None
        reader.listen(self._wake)
        self.progress.wanted = self._wake.set

    async def run(self) -> None:
        """Run until cancelled."""
        backoff = Backoff(self._pace.first_pause, self._pace.longest_pause)
        try:
            while True:
                try:
                    await self._begin()
                    while True:
                        await self._turn()
                        backoff.reset()
                except EventFailure as failure:
                    await self._stand(failure.cause)
                except Exception as error:
                    await self._recover(error, backoff)
        finally:
            self._thread.close()

    def retry(self) -> None:
        """Try parked keys again, and go on if it was stopped."""
        self._retry = True
        self._wake.set()

    async def _recover(self, error: Exception, backoff: Backoff) -> None:
        self.progress.beat()
        kind = remedy(error)
        if kind is Remedy.STOP:
            await self._stand(error)
        elif kind is Remedy.PAUSE:
            self.progress.error = str(error)
            _log.warning("%s waits for its store: %s", self._definition.name, error)
            await asyncio.sleep(backoff.next())
        else:
            await asyncio.sleep(backoff.next() / 10)

    async def _stand(self, error: Exception) -> None:
        """Stand still until somebody asks for another try."""
        known = isinstance(error, DiptychError)
        self.progress.stop(str(error) if known else f"{type(error).__name__}: {error}")
        _log.error("%s stopped: %s", self._definition.name, self.progress.error, exc_info=None if known else error)
        self._retry = False
        while not self._retry:
            self.progress.beat()
            self._wake.clear()
            await self._sleep(self._pace.longest_pause)

    async def _begin(self) -> None:
        """Take up where the checkpoint says, if it belongs to this log."""
        await self._reload()
        parked = await self._views.parked(self._definition.name)
        self._parked = {}
        for event in parked:
            self._parked.setdefault(event.key, event.position)
        errors = [event.error for event in parked if event.error]
        self.progress.error = errors[0] if errors else None
        self._show_state()
        if self._retry:
            self._retry = False
            await self._try_again(parked)

    async def _reload(self) -> None:
        name = self._definition.name
        self._checkpoint = checkpoint = await self._views.checkpoint(name)
        if checkpoint.position:
            there = await self._reader.at(checkpoint.position)
            if there is None or (checkpoint.event_id and there.event_id != checkpoint.event_id):
                raise OtherHistoryError(f"The checkpoint of {name}", checkpoint.position)
        self._unsaved = None
        self.progress.advance(checkpoint.position, checkpoint.recorded_at)

    async def _turn(self) -> None:
        self.progress.beat()
        self._wake.clear()
        if self._retry:
            await self._begin()
        if self._definition.mode == "inline":
            await self._follow_appends()
        page = None
        if self.progress.position < self._reader.head.position:
            page = await self._reader.page(self.progress.position)
        if page is not None:
            self._note_lag(page)
            await self._take(page)
            return
        self._reader.check()
        self._recovered()
        if self._is_save_due():
            await self._save()
        await self._sleep(self._pace.save if self._unsaved else self._pace.longest_pause)

    async def _follow_appends(self) -> None:
        """See how far the appends themselves have brought an inline projection."""
        checkpoint = await self._views.checkpoint(self._definition.name)
        if checkpoint.position > self._checkpoint.position:
            self._checkpoint, self._unsaved = checkpoint, None
            self.progress.advance(checkpoint.position, checkpoint.recorded_at)

    def _note_lag(self, page: SharedPage) -> None:
        self.progress.head = max(self.progress.head, self._reader.head.position)
        self.progress.behind_since = page.rows[self.progress.position - page.after].recorded_at

    async def _take(self, page: SharedPage) -> None:
        """Apply the rest of a page, up to the first event that stops the projection."""
        start, stop = self.progress.position - page.after, len(page.rows)
        halt: EventFailure | None = None
        parked = dict(self._parked)
        errors: dict[int, str] = {}
        while start < stop:
            try:
                batch = await self._fold(page, start, stop, parked)
                await self._commit(batch, page.rows[stop - 1], errors)
                self._parked = parked
                break
            except EventFailure as failure:
                at = page.rows[failure.position - page.after - 1]
                if may_be_parked(failure, is_isolated=self._may_park(), parked=len(parked)):
                    parked[at.stream_id], errors[failure.position] = failure.position, str(failure.cause)
                    _log.error("%s parks %s: %s", self._definition.name, at.stream_id, failure.cause)
                else:
                    stop, halt = failure.position - page.after - 1, failure
        if errors:
            self.progress.error = next(iter(errors.values()))
        self._show_state()
        if halt is not None:
            raise halt

    def _may_park(self) -> bool:
        return self._definition.is_isolated and self._definition.mode == "async"

    async def _fold(self, page: SharedPage, start: int, stop: int, parked: Mapping[str, int]) -> Draft:
        batch = await self._thread.run(draft, self._definition, page, range(start, stop), parked)
        if batch.loads:
            rows = await self._views.load(batch.loads)
            await self._thread.run(batch.finish, rows)
        return batch

    async def _commit(self, batch: Draft, last: StoredEvent, errors: Mapping[int, str]) -> None:
        self._unsaved = last
        if batch.is_empty and not self._is_save_due() and self._definition.mode == "async":
            self.progress.saw(last.position, last.recorded_at)
            return
        waiting = [ParkedEvent(key, position, errors.get(position, "")) for key, position in batch.waiting]
        await self._write(last, batch, waiting)

    def _is_save_due(self) -> bool:
        if self._unsaved is None:
            return False
        return self.progress.is_waited_for or time.monotonic() - self._saved_at >= self._pace.save

    async def _save(self) -> None:
        if self._unsaved is not None:
            await self._write(self._unsaved, Draft(), [])

    async def _write(self, last: StoredEvent, batch: Draft, waiting: list[ParkedEvent]) -> None:
        await self._views.commit(
            ViewBatch(
                self._definition.name,
                self._move(last.position, last.event_id),
                last.recorded_at,
                batch.changes,
                waiting,
                script=batch.script,
            )
        )
        self._checkpoint = Checkpoint(last.position, self._checkpoint.epoch, last.event_id, last.recorded_at)
        self._saved_at, self._unsaved = time.monotonic(), None
        self.progress.advance(last.position, last.recorded_at)

    def _move(self, position: int, event_id: bytes) -> CheckpointMove:
        at = self._checkpoint
        return CheckpointMove(self._definition.name, 0, at.epoch, at.position, position, event_id)

    async def _try_again(self, parked: Sequence[ParkedEvent]) -> None:
        """Apply the parked events of each key, all of a key or none, in order."""
        for key in dict(self._parked):
            positions = [event.position for event in parked if event.key == key]
            events = [event for position in positions if (event := await self._reader.at(position)) is not None]
            try:
                fold = await self._thread.run(draft_parked, self._definition, self._reader.codec, events)
                rows = await self._views.load(fold.loads)
                await self._thread.run(fold.finish, rows)
            except EventFailure as failure:
                self.progress.error = str(failure.cause)
                continue
            at = self._checkpoint
            move = self._move(at.position, at.event_id)
            await self._views.commit(
                ViewBatch(self._definition.name, move, at.recorded_at, fold.changes, unparked=[key])
            )
            del self._parked[key]
        self._show_state()

    def _show_state(self) -> None:
        self.progress.parked = len(self._parked)
        self.progress.state = "parked" if self._parked else "running"
        if not self._parked:
            self.progress.error = None

    def _recovered(self) -> None:
        if not self._parked and self.progress.error is not None:
            self.progress.error = None

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
