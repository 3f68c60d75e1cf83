"""The loop of one projection: read, fold off the event loop, commit rows and checkpoint together.

Rule: nothing but cancellation leaves `run`; whatever goes wrong is in its `Progress` (P7).
"""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Final

from diptych.errors import DiptychError, OtherHistoryError, ProjectionError, StoreError
from diptych.events.recorded import StoredEvent
from diptych.projections.batch import Draft, draft
from diptych.projections.parking import Parked, fold_key
from diptych.projections.plan import Definition
from diptych.store.protocols import Checkpoint, CheckpointMove, ViewBatch, ViewStore
from diptych.subscriptions.failures import Backoff, EventFailure, Remedy, may_be_parked, remedy
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.reading import LogReader, Pace, SharedPage
from diptych.subscriptions.thread import WorkThread

_log: Final = logging.getLogger("diptych.projections")


class _SomeEvent(Exception):  # noqa: N818 - never leaves this file
    """One of several events cannot be written, and it is not known which."""


class Runner:
    """Keeps one projection at the end of the log."""

    def __init__(self, definition: Definition, views: ViewStore, reader: LogReader, pace: Pace) -> None:
        self._definition, self._views, self._reader, self._pace = definition, views, reader, pace
        self._is_inline = definition.mode == "inline"
        tables = tuple(table.name for table in definition.tables.tables)
        self.progress = Progress(definition.name, definition.mode, tables, definition.takes)
        self._thread = WorkThread(f"diptych-{definition.name}")
        self._wake = asyncio.Event()
        self._retry = True  # after a start the code may be mended: parked keys get another try
        self._checkpoint = Checkpoint()
        self._parked = Parked()
        self._saved_at = 0.0
        self._unsaved: StoredEvent | None = None
        self._ahead: asyncio.Task[None] | None = None  # fetches the next page while this one is folded
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
            if self._ahead is not None:
                self._ahead.cancel()

    def retry(self) -> None:
        """Try parked keys again, and go on if it was stopped."""
        self._retry = True
        self._wake.set()

    async def _recover(self, error: Exception, backoff: Backoff) -> None:
        self.progress.beat()
        if (kind := remedy(error)) is Remedy.STOP:
            await self._stand(error)
        elif kind is Remedy.PAUSE:
            self.progress.error = str(error)
            _log.warning("%s waits for its store: %s", self._definition.name, error)
            await asyncio.sleep(backoff.next())
        else:
            await asyncio.sleep(backoff.next() / 10)
        self._reader.forget()

    async def _stand(self, error: Exception) -> None:
        """Stand still until somebody asks for another try."""
        is_known = isinstance(error, DiptychError)
        self.progress.stop(str(error) if is_known else f"{type(error).__name__}: {error}")
        _log.error("%s stopped: %s", self._definition.name, self.progress.error, exc_info=error)
        self._retry = False
        while not self._retry:
            self.progress.beat()
            self._wake.clear()
            await self._sleep(self._pace.longest_pause)

    async def _begin(self) -> None:
        """Take up where the checkpoint says, if it belongs to this log."""
        name = self._definition.name
        self._checkpoint = checkpoint = await self._views.checkpoint(name)
        if checkpoint.position:
            there = await self._reader.at(checkpoint.position)
            if there is None or (checkpoint.event_id and there.event_id != checkpoint.event_id):
                raise OtherHistoryError(f"The checkpoint of {name}", checkpoint.position)
        self._unsaved = None
        self.progress.advance(checkpoint.position, checkpoint.recorded_at, checkpoint.event_id)
        self._parked = Parked(await self._views.parked(name))
        if self._retry:
            self._retry = False
            await self._try_again()
        self._show_state()

    async def _turn(self) -> None:
        self.progress.beat()
        self._wake.clear()
        if self._retry:
            await self._begin()
        if self._is_inline:
            await self._follow_appends()
        page = None
        if self.progress.position < self._reader.head.position:
            page = await self._reader.page(self.progress.position, self.progress.event_id)
        if page is not None:
            if page.scanned < self._reader.head.position and (self._ahead is None or self._ahead.done()):
                self._ahead = asyncio.create_task(self._reader.read_ahead(page.scanned))
            await self._take(page)
            return
        self._reader.check()
        self._show_state()
        if self._unsaved is not None and self._is_save_due():
            await self._write(self._unsaved, Draft(), self._parked)
        await self._sleep(self._pace.save if self._unsaved else self._pace.longest_pause)

    async def _follow_appends(self) -> None:
        """See how far the appends themselves have brought an inline projection."""
        checkpoint = await self._views.checkpoint(self._definition.name)
        if checkpoint.position > self._checkpoint.position:
            self._checkpoint, self._unsaved = checkpoint, None
            self.progress.advance(checkpoint.position, checkpoint.recorded_at, checkpoint.event_id)

    async def _take(self, page: SharedPage) -> None:
        """Apply the rest of a page, up to the first event that stops the projection."""
        start, stop = self.progress.position - page.after, len(page.rows)
        self.progress.head = max(self.progress.head, self._reader.head.position)
        self.progress.behind_since = page.rows[start].recorded_at
        halt: EventFailure | None = None
        parked = self._parked.copy()
        while start < stop:
            try:
                await self._apply(page, start, stop, parked)
                self._parked = parked
                break
            except _SomeEvent:
                stop, halt = start + (stop - start) // 2, None
            except EventFailure as failure:
                at = page.rows[failure.position - page.after - 1]
                is_isolated = self._definition.is_isolated and not self._is_inline
                if may_be_parked(failure, is_isolated=is_isolated, parked=len(parked.since)):
                    parked.add(at, str(failure.cause))
                    _log.error("%s parks %s: %s", self._definition.name, at.stream_id, failure.cause)
                else:
                    stop, halt = failure.position - page.after - 1, failure
        self._show_state()
        if stop < len(page.rows):
            self.progress.behind_since = page.rows[stop].recorded_at
        if halt is not None:
            raise halt

    async def _apply(self, page: SharedPage, start: int, stop: int, parked: Parked) -> None:
        """Fold and commit some events. :raises EventFailure: this one cannot be; nothing is written."""
        try:
            batch = await self._thread.run(draft, self._definition, page, range(start, stop), parked.since)
            if batch.loads:
                await self._thread.run(batch.finish, await self._views.load(batch.loads))
            last = page.rows[stop - 1]
            if batch.is_empty and not self._is_inline and not self._is_save_due():
                self._unsaved = last
                self.progress.saw(last.position, last.recorded_at, last.event_id)
            else:
                await self._write(last, batch, parked)
        except (EventFailure, StoreError):
            raise
        except Exception as error:  # a value that no column takes, say: known only after the whole batch was tried
            if stop - start > 1:
                raise _SomeEvent from error
            at, why = page.rows[start], str(error) if isinstance(error, DiptychError) else repr(error)
            raise EventFailure(
                at.position, ProjectionError(self._definition.name, at.position, at.type, why)
            ) from error

    def _is_save_due(self) -> bool:
        return self.progress.is_waited_for or time.monotonic() - self._saved_at >= self._pace.save

    async def _write(self, last: StoredEvent, batch: Draft, parked: Parked) -> None:
        move = self._move(last.position, last.event_id)
        waiting = parked.waiting(batch)
        await self._views.commit(
            ViewBatch(move.name, move, last.recorded_at, batch.changes, waiting, script=batch.script)
        )
        self._checkpoint = Checkpoint(last.position, move.epoch, last.event_id, last.recorded_at)
        self._saved_at, self._unsaved = time.monotonic(), None
        self.progress.advance(last.position, last.recorded_at, last.event_id)

    def _move(self, position: int, event_id: bytes) -> CheckpointMove:
        at = self._checkpoint
        return CheckpointMove(self._definition.name, 0, at.epoch, at.position, position, event_id)

    async def _try_again(self) -> None:
        """Apply the parked events of each key, all of a key or none, in order."""
        at = self._checkpoint
        for key, positions in self._parked.by_key():
            try:
                batch = await fold_key(self._definition, positions, self._reader, self._views, self._thread)
                move = self._move(at.position, at.event_id)
                await self._views.commit(ViewBatch(move.name, move, at.recorded_at, batch.changes, unparked=[key]))
                self._parked.release(key)
            except StoreError:
                raise
            except Exception as error:  # a value that no column takes, too: known only when it is written
                _log.error("%s still parks %s: %s", self._definition.name, key, error)

    def _show_state(self) -> None:
        self.progress.parked = len(self._parked.since)
        self.progress.state = "parked" if self._parked.since else "running"
        self.progress.error = self._parked.error

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
