"""What is done about failed events and wrong rows: trying parked keys again, leaving an event out for ever, folding
the rows of one key again.

Rule: all of it under the lane's epoch, like any batch; each attempt is noted on the lane before it is made.
"""

import logging
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

from diptych.errors import DiptychError
from diptych.events.recorded import StoredEvent
from diptych.projections.batch import Draft
from diptych.projections.carrying import Carrier
from diptych.projections.held import Lane
from diptych.projections.leaving_out import says_left_out
from diptych.store.batches import Answer, Checkpoint, ParkedEvent
from diptych.store.leases import Request
from diptych.subscriptions.failures import ENDED, OF_THE_STORE, EventFailure, may_be_tried_unasked
from diptych.subscriptions.lanes import lane_of

E = TypeVar("E", StoredEvent, ParkedEvent)

_GOES_ON: Final = "It goes on."
_log: Final = logging.getLogger("diptych.projections")


class Done(NamedTuple):
    """What became of a request; `has_effect`: something was done, so that what stands may go on."""

    outcome: str
    has_effect: bool = True

    @property
    def and_goes_on(self) -> str:
        """The outcome where the projection stood."""
        is_all = self.outcome.endswith(_GOES_ON) or not self.has_effect
        return self.outcome if is_all else f"{self.outcome} {_GOES_ON}"


class Mender:
    """Does what is asked about the lanes of a carrier."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier, self._work = carrier, carrier.work
        self._ended: set[str] = set()  # keys whose last try ended the process, for as long as nobody was told
        self._ended_at: set[int] = set()  # where the first event is of those whose last rebuild did

    async def look(self, lanes: Collection[int]) -> None:
        """Take up the parked keys of lanes that were just claimed: an attempt that ended a process is noted on it."""
        for number in lanes:
            lane = self._carrier.lanes[number]
            parked = self._carrier.parked.at(lane.attempt)
            if parked is not None:
                self._ended.add(parked.key)
                events = self._carrier.parked.of(parked.key)
                await self._park_again(lane, parked.key, events, f"position {parked.position}: {ENDED}")
            elif 0 < lane.attempt <= lane.saved.position:
                self._ended_at.add(lane.attempt)

    async def try_unasked(self, lanes: Collection[int]) -> None:
        """Try the parked keys of some lanes again, those that do no harm: the code may have been mended."""
        if not self._carrier.parked.since:
            return
        await self._carrier.look_at_parked()
        parked = self._carrier.parked
        for key in parked.keys(lanes):
            if all(may_be_tried_unasked(each.error) for each in self._but_for_left_out(parked.of(key))):
                await self.retry(self._carrier.lanes[parked.lane(key)], key)

    async def execute(self, request: Request, halted: int) -> Done:
        """Do what is asked of a lane here. `halted` is where the event is that stopped the projection."""
        await self._carrier.look_at_parked()
        lane = self._carrier.lanes[request.lane]
        if request.verb == "skip":
            return await self.skip(lane, request.position, halted, request.id)
        if request.verb == "rebuild":
            return await self._rebuild(lane, request.key)
        keys = [request.key] if request.key else self._carrier.parked.keys([lane.number])
        outcomes = []
        for key in keys:
            if key in self._ended:
                self._ended.discard(key)
                outcomes.append(f"{key} stays parked: {ENDED}. It is not tried again for this request.")
            else:
                outcomes.append(await self.retry(lane, key))
        return Done(" ".join(outcomes) or "Nothing is parked here.")

    async def retry(self, lane: Lane, key: str) -> str:
        """Apply the parked events of a key, all of them in order or none, and say what became of it."""
        events = self._carrier.parked.of(key)
        if not events:
            return f"{key} is not parked."
        return await self._apply(lane, key, events)

    async def _rebuild(self, lane: Lane, key: str) -> Done:
        """Fold all events of a key again, up to where its lane is, and write its rows anew; all of it or nothing.

        What is left out for ever is left out here, too.
        """
        if not self._work.definition.is_isolated:
            return Done(f"{key} stays as it is: its rows are made of other streams, too.", has_effect=False)
        carrier, at = self._carrier, lane.at
        events = self._but_for_left_out(await self._work.reader.of(UUID(key), at.position))
        first = events[0].position if events else 0
        if key in self._ended or first in self._ended_at:
            self._ended.discard(key)
            self._ended_at.discard(first)
            why = f"{key} stays as it is: {ENDED}. It is not tried again for this request."
            return Done(why, has_effect=False)
        try:
            async with self._work.alone.turn():
                await self._work.tenure.mark(lane.number, attempt=first)
                batch = await carrier.folding.key(key, events)
                await carrier.write([lane], at, batch, (), [key] if key in carrier.parked.since else [])
        except OF_THE_STORE:
            raise
        except Exception as error:  # a value that no column takes, too: known only when it is written
            why = _said(error)
            await self._work.tenure.mark(lane.number)
            _log.error("%s cannot fold %s again: %s", self._work.name, key, why)
            return Done(f"{key} stays as it is: {why}", has_effect=False)
        carrier.parked.release(key)
        return Done(f"{key}: its rows are made of its {len(events)} events again.")

    async def _apply(
        self, lane: Lane, key: str, events: Sequence[ParkedEvent], left_out: int = 0, request: int = 0
    ) -> str:
        """Apply them but for one that is left out; if they fail, they stay parked with the new error.

        So are those that were left out for ever in another generation, or while they waited here. Returns what became
        of it. As the answer to a request it is written with that, so that it is never done unsaid.
        """
        carrier = self._carrier
        rest = [event for event in self._but_for_left_out(events) if event.position != left_out]
        first = f"{says_left_out(left_out)} " if left_out else ""
        try:
            batch = Draft()
            async with self._work.alone.turn():
                if rest:
                    await self._work.tenure.mark(lane.number, attempt=rest[0].position)
                    batch = await carrier.folding.parked(await self._stored(rest))
                said = f"{first}{key}: {len(rest)} {'event is' if len(rest) == 1 else 'events are'} applied."
                await self._write(lane, batch, (), key, _answer(request, said))
        except OF_THE_STORE:
            raise
        except Exception as error:  # a value that no column takes, too: known only when it is written
            why = _said(error)
            said = f"{first}{key} stays parked: {why}"
            await self._park_again(lane, key, rest, why, _answer(request, said))
            _log.error("%s still parks %s: %s", self._work.name, key, why)
            return said
        carrier.parked.release(key)
        return said

    async def _park_again(
        self, lane: Lane, key: str, events: Sequence[ParkedEvent], why: str, answer: Answer | None = None
    ) -> None:
        rest = [event._replace(error="") for event in events]
        rest[0] = rest[0]._replace(error=why)
        await self._write(lane, Draft(), rest, key, answer)
        await self._carrier.look_at_parked()

    async def _write(
        self, lane: Lane, batch: Draft, parked: Sequence[ParkedEvent], key: str, answer: Answer | None
    ) -> None:
        """Commit to a lane where it stands on disk; what it has scanned since stays so."""
        at = lane.at
        await self._carrier.write([lane], lane.saved, batch, parked, [key], answer)
        lane.at = at

    def _but_for_left_out(self, events: Sequence[E]) -> list[E]:
        return [event for event in events if event.position not in self._carrier.parked.left_out]

    async def _stored(self, parked: Sequence[ParkedEvent]) -> list[StoredEvent]:
        found = [await self._work.reader.at(each.position) for each in parked]
        return [event for event in found if event is not None]

    async def skip(self, lane: Lane, position: int, halted: int, request: int = 0) -> Done:
        """Leave an event out for ever: one that is parked, or that stopped the projection.

        The answer to the request is written with it: it is the record by which later generations leave it out, too.
        """
        parked = self._carrier.parked.at(position)
        if parked is not None and parked.lane == lane.number:
            events = self._carrier.parked.of(parked.key)
            return Done(await self._apply(lane, parked.key, events, position, request))
        event = await self._work.reader.at(position)
        if event is None or lane_of(event.stream_id, self._work.definition.tables.lanes) != lane.number:
            return Done(f"Position {position} is not in lane {lane.number}.", has_effect=False)
        if position in self._carrier.parked.left_out and lane.at.position >= position:
            return Done(says_left_out(position), has_effect=position == halted)  # by whoever could not say so any more
        if position != halted or lane.at.position != position - 1:
            where = f"position {halted} did" if halted else "nothing did"
            why = f"Position {position} is neither parked nor did it stop the projection ({where}). It is not left out."
            return Done(why, has_effect=False)
        place = Checkpoint(event.position, lane.epoch, event.event_id, event.recorded_at)
        said = f"{says_left_out(position)} {_GOES_ON}"
        await self._carrier.write([lane], place, Draft(), answer=_answer(request, said))
        return Done(said)


def _answer(request: int, outcome: str) -> Answer | None:
    return Answer(request, outcome) if request else None


def _said(error: Exception) -> str:
    cause = error.cause if isinstance(error, EventFailure) else error
    return str(cause) if isinstance(cause, DiptychError) else repr(cause)
