"""Lanes of one generation, carried along the log: the one furthest behind goes first.

Rule: one step is one batch, committed with its checkpoints or not at all; who may take a step, and what becomes of a
failure, is the caller's business.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import Final

from diptych.errors import DiptychError, OtherHistoryError
from diptych.events.recorded import StoredEvent
from diptych.projections.batch import Draft, Portion, concerned
from diptych.projections.held import Group, Lane, hindmost
from diptych.projections.leaving_out import left_out
from diptych.projections.parking import Parked
from diptych.projections.stride import Stride
from diptych.projections.work import Folding, Work
from diptych.store.batches import Answer, Checkpoint, ParkedEvent, ViewBatch
from diptych.store.leases import Held
from diptych.subscriptions.failures import ENDED, OF_THE_STORE, EventFailure, may_be_parked
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.progress import Place, Progress
from diptych.subscriptions.reading import SharedPage
from diptych.subscriptions.thread import HangsError

_log: Final = logging.getLogger("diptych.projections")
_at = attrgetter("at.position")
_saved = attrgetter("saved.position")


class _SomeEvent(Exception):  # noqa: N818 - never leaves this file
    """One of several events cannot be written, and it is not known which."""


class Carrier:
    """Applies events to the lanes that are worked on here. `progress` is told where they are."""

    def __init__(self, work: Work, progress: Progress) -> None:
        self.work, self.progress = work, progress
        self.lanes: Mapping[int, Lane] = {}
        self.parked = Parked(work.definition.tables.lanes)
        self.folding = Folding(work)
        self.hung = 0  # how many events were found to hang
        self._stride = Stride(work.pace.page_events)
        self._ahead: asyncio.Task[None] | None = None  # fetches the next page while this one is folded

    def close(self) -> None:
        """Let go of the thread."""
        self.folding.close()
        if self._ahead is not None:
            self._ahead.cancel()

    async def take(self, held: Sequence[Held]) -> None:
        """Take up lanes where their checkpoints are.

        :raises OtherHistoryError: one of them was made from another log.
        """
        for checkpoint in {one.checkpoint.position: one.checkpoint for one in held if one.checkpoint.position}.values():
            there = await self.work.reader.at(checkpoint.position)
            if there is None or (checkpoint.event_id and there.event_id != checkpoint.event_id):
                raise OtherHistoryError(f"The checkpoint of {self.work.name}", checkpoint.position)
        self.lanes = {**self.lanes, **{one.lane: Lane.of(one) for one in held}}
        await self.look_at_parked()
        self.show_place()

    async def look_at_parked(self) -> None:
        """Load what is parked in the lanes here, and what is left out for ever."""
        found = await self.work.views.parked(self.work.name, self.work.generation)
        without = await left_out(self.work.views, self.work.name)
        mine = [one for one in found if one.lane in self.lanes]
        self.parked = Parked(self.work.definition.tables.lanes, mine, without)

    def drop(self, numbers: Collection[int]) -> None:
        """Forget these lanes; what they had scanned and not written is scanned again by whoever takes them."""
        self.lanes = {number: lane for number, lane in self.lanes.items() if number not in numbers}
        self.parked.forget(numbers)
        self.show_place()

    async def step(self, upto: int | None = None) -> bool:
        """Apply one batch to the lanes that are furthest behind, not beyond `upto`; False: there is nothing to do.

        :raises EventFailure: an event stops the projection; all before it is applied.
        """
        group = hindmost(self.lanes.values(), self.work.definition.tables.lanes)
        at, head = group.at.position, self.work.reader.head
        if at >= head.position or (upto is not None and at >= upto):
            return False
        stride = self._stride.events
        page = await self.work.reader.page(at, group.at.event_id, stride)
        if page is None:
            return False
        if page.scanned < head.position and (self._ahead is None or self._ahead.done()):
            self._ahead = asyncio.create_task(self.work.reader.read_ahead(page.scanned, stride))
        limits = [page.scanned, at + stride, *[limit for limit in (group.limit, upto) if limit is not None]]
        start, stop = at - page.after, min(limits) - page.after
        self.progress.head = max(self.progress.head, head.position)
        self.progress.behind_since = page.rows[start].recorded_at
        try:
            with self._stride.taken(stop - start):
                await self.apply(group, page, range(start, stop))
        except HangsError:
            for lane in group.lanes:
                lane.take_care()
        finally:
            self.show_place()
        return True

    async def pass_over(self, position: int) -> None:
        """Have the lanes that stand before an event go past it, without applying it."""
        lanes = [lane for lane in self.lanes.values() if lane.at.position == position - 1]
        event = await self.work.reader.at(position)
        if event is not None:
            await self.write(lanes, _place(event), Draft())

    async def save(self, *, at_once: bool = False) -> bool:
        """Write down what was scanned and is not on disk, if it is time to; returns whether anything is left."""
        unsaved = [lane for lane in self.lanes.values() if lane.has_unsaved]
        for at in {lane.at.position: lane.at for lane in unsaved}.values():
            lanes = [lane for lane in unsaved if lane.at.position == at.position]
            if at_once or self._is_due(lanes):
                await self.write(lanes, at, Draft())
        self.show_place()
        return any(lane.has_unsaved for lane in self.lanes.values())

    async def follow_appends(self) -> None:
        """See how far the appends themselves have brought an inline projection."""
        lane, places = self.lanes[0], await self.work.views.places(self.work.name, self.work.generation)
        if places and places[0].position > lane.saved.position:
            lane.is_written(places[0], lane.saved_at)
            self.show_place()

    async def write(
        self,
        lanes: Collection[Lane],
        to: Checkpoint,
        batch: Draft,
        parked: Sequence[ParkedEvent] = (),
        unparked: Sequence[str] = (),
        answer: Answer | None = None,
    ) -> None:
        """Commit a batch, the new place of its lanes, and the answer to the request that it carries out.

        :raises CheckpointMovedError: one of the lanes is not ours any more; nothing is written.
        """
        where = (self.work.name, self.work.generation, [lane.move for lane in lanes])
        place = (to.position, to.event_id, to.recorded_at)
        await self.work.views.commit(ViewBatch(*where, *place, batch.changes, parked, unparked, batch.script, answer))
        now = time.monotonic()
        for lane in lanes:
            lane.is_written(to, now)

    def show_place(self) -> None:
        """Tell the progress where the lanes here are."""
        if self.lanes:
            last = min(self.lanes.values(), key=_at).at
            saved: int = _saved(min(self.lanes.values(), key=_saved))
            self.progress.stands(Place(last.position, last.recorded_at, last.event_id), saved)

    async def apply(self, group: Group, page: SharedPage, indexes: range) -> None:
        """Apply a piece of a page to some lanes. :raises EventFailure: see `step`. :raises HangsError: take care."""
        if group.is_careful:
            await self._take_carefully(group, page, indexes)
        else:
            await self._take(group, page, indexes)

    async def _take_carefully(self, group: Group, page: SharedPage, indexes: range) -> None:
        """Apply the events one by one, each noted beforehand, so that one that ends the process is known by that."""
        start, lanes = indexes.start, {lane.number: lane for lane in group.lanes}
        for index in concerned(self.work.definition, page, indexes, group.numbers):
            event = page.rows[index]
            for one in group.lanes:
                one.careful_until = one.careful_until or event.position + self.work.pace.page_events
            lane = lanes[lane_of(event.stream_id, self.work.definition.tables.lanes)]
            blamed = self.folding.blame(event, ENDED) if lane.attempt == -event.position else None
            async with self.work.alone.turn():
                if blamed is None:  # whoever ended on it alone may have been killed from outside: the second time tells
                    await self.work.tenure.mark(lane.number, attempt=lane.tried(event.position))
                await self._take(group, page, range(start, index + 1), blamed)
            start = index + 1
        if start < indexes.stop:
            await self._take(group, page, range(start, indexes.stop))

    async def _take(self, group: Group, page: SharedPage, indexes: range, blamed: EventFailure | None = None) -> None:
        """Apply a piece of a page, up to the first event that stops the projection."""
        start, stop = indexes.start, indexes.stop
        halt: EventFailure | None = None
        parked = self.parked.copy()
        while start < stop:
            try:
                if blamed is not None:
                    failure, blamed = blamed, None
                    raise failure
                await self._apply(group, Portion(page, range(start, stop), group.numbers), parked)
                self.parked = parked
                break
            except _SomeEvent:
                stop, halt = start + (stop - start) // 2, None
            except EventFailure as failure:
                self.hung += isinstance(failure.__cause__, HangsError)
                at = page.rows[failure.position - page.after - 1]
                if may_be_parked(failure, is_isolated=self.work.may_park, parked=len(parked.since)):
                    parked.add(at, str(failure.cause))
                    _log.error("%s parks %s: %s", self.work.name, at.stream_id, failure.cause)
                else:
                    stop, halt = failure.position - page.after - 1, failure
        if stop < len(page.rows):
            self.progress.behind_since = page.rows[stop].recorded_at
        if halt is not None:
            raise halt

    async def _apply(self, group: Group, portion: Portion, parked: Parked) -> None:
        """Fold and commit some events. :raises EventFailure: this one cannot be; nothing is written."""
        page, indexes, _ = portion
        last = page.rows[indexes[-1]]
        if not last.event_id:  # of another slice, and amid the page: an event failed, or other lanes stand there
            last = await self.work.reader.at(last.position) or last
        try:
            batch = await self.folding.portion(portion, parked)
            if batch.is_empty and not group.is_careful and not self.work.is_inline and not self._is_due(group.lanes):
                for lane in group.lanes:
                    lane.scanned(last)
            else:
                await self.write(group.lanes, _place(last), batch, parked.waiting(batch))
        except (EventFailure, HangsError, *OF_THE_STORE):
            raise
        except Exception as error:  # a value that no column takes, say: known only after the whole batch was tried
            if len(indexes) > 1:
                raise _SomeEvent from error
            raise self.folding.blame(last, str(error) if isinstance(error, DiptychError) else repr(error)) from error

    def _is_due(self, lanes: Collection[Lane]) -> bool:
        return self.progress.is_waited_for or (
            time.monotonic() - min([lane.saved_at for lane in lanes]) >= self.work.pace.save
        )


def _place(event: StoredEvent) -> Checkpoint:
    return Checkpoint(event.position, 0, event.event_id, event.recorded_at)
