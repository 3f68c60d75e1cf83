"""The log reader of a process: every consumer at the end of the log shares one read and one decoding of each event.

Rule: pages are unfiltered, so a gap is always seen (P4) and so is an event that this code does not know (I2). Only who
builds some lanes of a generation reads their slices alone, of a store that sees the gaps; others read the rest.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

from diptych.errors import DiptychError, SkippedPositionsError, StoreUnavailableError
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.events.rows import stream_ids_of, types_of
from diptych.messages import DomainEvent
from diptych.store.protocols import EventStore, Head, Page
from diptych.subscriptions.failures import Backoff, LostTail
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.sliced import SlicedRows

_KEPT: Final = 4  # pages, and of those that are large no more than are worked on and read ahead
_LARGE: Final = 2
_SHORT: Final = 0.002  # seconds after a false hint, and after many of them
_LONG: Final = 0.1
_log: Final = logging.getLogger("diptych.projections")


class Pace(NamedTuple):
    """How a subscription reads and waits; times in seconds."""

    page_events: int = 2000
    poll: float = 0.5  # a lost hint delays by no more than this (P6)
    save: float = 1.0  # progress without rows goes to disk at most this often
    first_pause: float = 0.05
    longest_pause: float = 5.0
    start_patience: float = 10.0  # a start gives up on an inline projection that fails and stands still so long
    lease: float = 5.0  # a worker that has not been heard of for so long is no worker any more (P5)
    handler_seconds: float = 30.0  # a handler that takes longer hangs
    hold: float = 5.0  # what is read stands for no longer, while a rebuild is compared with it or takes over
    keep: float = 86_400.0  # a generation that is not read any more is dropped after so long


class SharedPage:
    """A piece of the log without gaps, each event decoded when the first consumer asks for it.

    Where it was read for some `slices` alone, events of others are empty places: see `SlicedRows`.
    """

    __slots__ = (
        *("_before", "_decoded", "_lanes", "after", "codec", "decode", "rows", "scanned", "slices"),
        *("stream_ids", "types"),
    )

    def __init__(self, page: Page, codec: Codec, slices: range | None = None) -> None:
        self.after, self.rows, self.codec, self._before = page.after, page.events, codec, page.before
        self.types, self.decode = types_of(page.events), codec.reading(page.events)
        self.stream_ids, self.slices = stream_ids_of(page.events), slices
        if slices is not None:
            self.rows = sliced = SlicedRows(page, slices)
            self.types, self.stream_ids = sliced.spread(self.types), sliced.spread(self.stream_ids)
            self.decode = sliced.by_place(self.decode)
        self.scanned = page.after + len(self.rows)
        self._lanes: dict[int, Sequence[int]] = {}
        self._decoded: list[DomainEvent | None] = [None] * len(self.rows)

    def covers(self, after: int) -> bool:
        """Whether the event after this position is in the page."""
        return self.after <= after < self.scanned

    def lanes(self, count: int) -> Sequence[int]:
        """Return which of so many lanes each event is in, worked out once for all."""
        found = self._lanes.get(count)
        if found is None:
            known = {stream_id: lane_of(stream_id, count) for stream_id in set(self.stream_ids)}
            found = self._lanes[count] = [known[stream_id] for stream_id in self.stream_ids]
        return found

    def goes_on_from(self, position: int, event_id: bytes) -> bool:
        """Whether the event at a position just before one of the page is this one. Ids that are empty tell nothing."""
        known = self._before if position == self.after else self.rows[position - self.after - 1].event_id
        return known == event_id or not known or not event_id

    def event(self, index: int) -> DomainEvent:
        """Return the event of a row, decoded once for all. Two threads may both decode it; they make equal events."""
        event = self._decoded[index]
        if event is None:
            event = self._decoded[index] = self.decode(index)
        return event


class LogReader:
    """Reads the log for all consumers of one process, and wakes those that wait at its end."""

    def __init__(self, store: EventStore, codec: Codec, pace: Pace) -> None:
        self._store, self.codec, self.pace = store, codec, pace
        self._pages: deque[SharedPage] = deque()
        self._reading = asyncio.Lock()
        self._listeners: set[asyncio.Event] = set()
        self._is_heard = asyncio.Event()  # somebody listens
        self._is_near = asyncio.Event()  # who asked last for a page asked for one at the end
        self._is_near.set()
        self._trouble: DiptychError | None = None
        self._slices: range | None = None
        self.head = Head()

    def read_only(self, slices: range | None) -> None:
        """From now on read no events but those of streams in these slices; None: all."""
        self._slices = slices

    def listen(self, event: asyncio.Event) -> None:
        """Set this event whenever the log has grown."""
        self._listeners.add(event)
        self._is_heard.set()

    def hear_no_more(self, event: asyncio.Event) -> None:
        """Set this event no longer."""
        self._listeners.discard(event)
        if not self._listeners:
            self._is_heard.clear()

    async def follow(self) -> None:
        """Watch the end of the log until cancelled, while anybody listens. Hints make it fast, polling sure (P6)."""
        backoff = Backoff(self.pace.first_pause, self.pace.longest_pause)
        is_known, pause = False, _SHORT
        while True:
            try:
                is_known = is_known and self._is_heard.is_set()
                await self._is_heard.wait()
                if is_known and self._trouble is None:
                    began = time.monotonic()
                    await self._store.wait(self.head.position, self.pace.poll)
                    if not await self._has_grown():
                        # False hints may not become a busy loop, above all not where a tail was lost.
                        pause = _SHORT if time.monotonic() - began > pause else min(2 * pause, _LONG)
                        await asyncio.sleep(pause)
                        continue
                else:
                    head, is_known = await self._store.head(), True
                    if self._trouble is None:
                        self.head = max(self.head, head)
                    else:  # another server may answer now
                        self.forget()
                        self.head = head
                self._trouble, pause = None, _SHORT
                backoff.reset()
                self._wake()
            except Exception as error:  # whatever it is, the projections of this process outlive it
                self._trouble = error if isinstance(error, DiptychError) else _unforeseen(error)
                self._wake()
                await asyncio.sleep(backoff.next())

    async def _has_grown(self) -> bool:
        """Read what is new. While those who read are far behind, only look how long the log is, and not for each event.

        Else each event of a busy service would be read as it comes, and then again when they get there.
        """
        if self._is_near.is_set():
            return await self._read(self.head.position) is not None
        head = await self._store.head()
        if head.position <= self.head.position:
            return False
        self.head = head
        self._wake()  # there may be others at the end
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONG):
                await self._is_near.wait()
        return True

    async def page(self, after: int, event_id: bytes = b"", events: int = 0) -> SharedPage | None:
        """Return a page that holds the event after a position, shared if it can be; None at the end of the log.

        Where it is read for this, it has so many events, or as many as is usual.

        :raises StoreError: the log cannot be read now. :raises LostTail: the event at `after` is not `event_id`.
        """
        if after + self.pace.page_events >= self.head.position:
            self._is_near.set()
        else:
            self._is_near.clear()
        page = self._kept(after) or await self._read(after, events)
        if page is not None and not page.goes_on_from(after, event_id):
            raise LostTail(after)
        return page

    def forget(self) -> None:
        """Keep no page: after trouble another server may answer, which took over without the last events."""
        self._pages.clear()

    async def read_ahead(self, after: int, events: int) -> None:
        """Fetch the page that will be asked for next. Its troubles are for whoever asks."""
        with suppress(Exception):
            await self.page(after, events=events)

    async def look(self) -> None:
        """See how long the log is, for who does not `follow` it."""
        self.head = await self._store.head()

    def check(self) -> None:
        """Raise what keeps the reader from seeing the end of the log, if anything does."""
        if self._trouble is not None:
            raise self._trouble

    async def at(self, position: int) -> StoredEvent | None:
        """Return the event at one position, or None if the log does not reach it."""
        events = (await self._store.read_log(after=position - 1, limit=1)).events
        return events[0] if events else None

    async def id_at(self, position: int) -> bytes:
        """Return the id of the event at one position, empty past the end: of a page that is kept, or from the log."""
        page = self._kept(position - 1)
        known = None if page is None else page.rows[position - page.after - 1]
        if known is None or not known.event_id:  # of some slices alone, others are empty places
            known = await self.at(position)
        return b"" if known is None else known.event_id

    async def of(self, id: UUID, upto: int) -> Sequence[StoredEvent]:
        """Return the events up to a position of all streams with this id, in the order of the log."""
        streams = [await self._store.read_stream(stream) for stream in await self._store.streams_of(id)]
        events = [event for stream in streams for event in stream if event.position <= upto]
        return sorted(events, key=attrgetter("position"))

    async def _read(self, after: int, events: int = 0) -> SharedPage | None:
        async with self._reading:
            kept = self._kept(after)
            if kept is not None:
                return kept
            slices, limit = self._slices, events or self.pace.page_events
            if slices is None:
                page = await self._store.read_log(after=after, limit=limit)
                _check_contiguous(after, page.events)
            else:
                page = await self._store.read_slices(after=after, slices=slices, limit=limit)
            if page.head.position > self.head.position:
                self.head = page.head
                self._wake()
            shared = SharedPage(page, self.codec, slices)
            if shared.scanned == after:
                return None
            self._pages.append(shared)
            while len(self._pages) > (_LARGE if len(shared.rows) > self.pace.page_events else _KEPT):
                self._pages.popleft()
            return shared

    def _kept(self, after: int) -> SharedPage | None:
        kept = (page for page in reversed(self._pages) if page.slices == self._slices)
        return next((page for page in kept if page.covers(after)), None)

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.set()


def _unforeseen(error: Exception) -> StoreUnavailableError:
    _log.error("The log cannot be read", exc_info=error)
    return StoreUnavailableError(f"The log cannot be read ({error!r}). It is tried again; see the log of this process.")


def _check_contiguous(after: int, events: Sequence[StoredEvent]) -> None:
    """Positions ascend, so the first, the last and the count say whether one is missing (P4)."""
    if events and (events[0].position != after + 1 or events[-1].position != after + len(events)):
        expected = after
        for event in events:
            if event.position != expected + 1:
                raise SkippedPositionsError(expected, event.position)
            expected = event.position
