"""A publication as a duty: pages of the log become messages, and the checkpoint follows what the broker confirmed.

A page is read, then something is written (which proves, where there is a standby, that what was read will last), then
the messages go out, and when all of them are confirmed the lane moves on. A broker that is away keeps one page of one
lane in memory, and no append waits for it (D3). After it took some not, fewer are sent at once: one that it never takes
is soon sent alone, and has no other sent again and again.
Rule: the log is the truth; publishing it again from the beginning changes nothing for who knows the ids (D2).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from diptych.errors import PublishError
from diptych.events.codec import Codec
from diptych.events.recorded import RecordedEvent, StoredMetadata
from diptych.messages import DomainEvent
from diptych.reactions.messages import IntegrationMessage
from diptych.reactions.publication import Mapped, Published, message_of
from diptych.store.leases import Held, Request
from diptych.subscriptions.apart import apart
from diptych.subscriptions.duty import LANES, Desk, Work, kept_by
from diptych.subscriptions.failures import Backoff
from diptych.subscriptions.lane_place import SAVE, LanePlace
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.reading import SharedPage
from diptych.subscriptions.tasks import tasks_table
from diptych.subscriptions.turn import Turn

_log: Final = logging.getLogger("diptych.publishing")
_AT_ONCE: Final = 500


class PublicationDuty:
    """Runs one publication."""

    def __init__(self, published: Published, told: Mapping[type[DomainEvent], Mapped], codec: Codec) -> None:
        self.publication, self.publisher, self.told = published.publication, published.publisher, told
        self.name = self.publication.name
        self.begins_at_head = self.publication.begins == "head"
        self.tasks = tasks_table(self.name)
        self.kept = kept_by(self.name, self.tasks)
        self.takes = codec.names(told)

    def work(self, desk: Desk, held: Held) -> Work:
        """Return what works on a lane."""
        return PublishingWork(self, desk, held)

    def message(self, recorded: RecordedEvent) -> IntegrationMessage | None:
        """Return what others are told of an event."""
        return message_of(self.publication.source, self.told[type(recorded.event)], recorded)


class PublishingWork:
    """Publishes the streams of one lane. `error` says why nothing goes out, or is None."""

    def __init__(self, duty: PublicationDuty, desk: Desk, held: Held) -> None:
        self._duty, self._desk, self.lane = duty, desk, held.lane
        self._place = LanePlace(duty, desk, held)
        self._wake = asyncio.Event()
        self._most = _AT_ONCE
        self.is_paused = self._is_at_rest = False
        self.error: str | None = None

    @property
    def position(self) -> int:
        """How far the log is confirmed."""
        return self._place.position

    def is_asked(self, requests: Sequence[Request]) -> None:
        """Do nothing: nothing is ever put aside here, so there is nothing to ask for."""

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    def drop(self) -> None:
        """Do nothing: what was not confirmed is sent again by whoever has the lane next."""

    def is_settled(self, head: int) -> bool:
        """Whether all that is in the log so far was confirmed."""
        return self._is_at_rest and self._place.position >= head

    async def end(self) -> None:
        """Write down how far it got."""
        await self._place.commit(self._turn(), at_once=True)

    async def run(self) -> None:
        """Publish until cancelled."""
        self._desk.reader.listen(self._wake)
        try:
            await self._place.begin()
            while True:
                self._wake.clear()
                self._is_at_rest = False
                if self.is_paused or not await self._step():
                    self._is_at_rest = True
                    with suppress(TimeoutError):
                        async with asyncio.timeout(SAVE):
                            await self._wake.wait()
        finally:
            self._desk.reader.hear_no_more(self._wake)

    async def _step(self) -> bool:
        page = await self._desk.reader.page(self._place.position, self._place.event_id)
        if page is None:
            await self._place.commit(self._turn())
            return False
        messages, last = self._messages(page)
        if messages:
            await self._place.commit(self._turn(), at_once=True)
            await self._publish(page, messages)
        await self._place.commit(self._turn(), to=page.rows[last], at_once=bool(messages))
        return True

    def _messages(self, page: SharedPage) -> tuple[list[tuple[int, IntegrationMessage]], int]:
        """Return what to tell of a page, by index, and the index of the last event that was looked at."""
        found: list[tuple[int, IntegrationMessage]] = []
        first = index = self._place.position - page.after
        for index in range(first, len(page.rows)):
            if page.types[index] not in self._duty.takes or lane_of(page.stream_ids[index], LANES) != self.lane:
                continue
            row = page.rows[index]
            try:
                message = self._duty.message(RecordedEvent(page.event(index), StoredMetadata(row), row))
            except Exception:
                if index == first:
                    raise
                return found, index - 1  # what is before it goes out; it is the first the next time
            if message is not None:
                found.append((index, message))
            if len(found) == _AT_ONCE:
                break
        return found, index

    async def _publish(self, page: SharedPage, messages: Sequence[tuple[int, IntegrationMessage]]) -> None:
        """Return when the broker has them, however long it is away. The lane moves with each piece that it took."""
        pace = self._desk.pace
        backoff = Backoff(pace.first_pause, pace.longest_pause)
        while messages:
            some, later = messages[: self._most], messages[self._most :]
            (first, _), (last, _) = some[0], some[-1]
            try:
                await apart(self._duty.publisher.publish([message for _, message in some]))
            except PublishError as error:
                row, is_new = page.rows[first], self.error is None
                self.error = f"{str(error).rstrip('. ')}; the first that waits is {row.type} at position {row.position}"
                if is_new:
                    _log.warning("%s, lane %d: %s", self._duty.name, self.lane, self.error)
                self._most = max(1, len(some) // 2)
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            self.error, self._most, messages = None, min(2 * self._most, _AT_ONCE), later
            if later:
                await self._place.commit(self._turn(), to=page.rows[last], at_once=True)

    def _turn(self) -> Turn:
        return self._desk.turn(self.lane, self._duty.tasks)
