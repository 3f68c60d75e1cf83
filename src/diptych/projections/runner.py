"""The loop that works on the lanes of one generation that are this process's share.

Rule: nothing but cancellation and its own end leaves `run`; whatever goes wrong is in its `Progress` (P7).
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from diptych.projections.carrying import Carrier
from diptych.projections.holding import Holding
from diptych.projections.mending import Done, Mender
from diptych.projections.observed import carrier_of
from diptych.projections.work import Work
from diptych.store.leases import Request
from diptych.subscriptions.failures import Backoff, EventFailure, Remedy, remedy, told
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.spreading import Share
from diptych.telemetry.observer import QUIET, Observer

_log: Final = logging.getLogger("diptych.projections")


class Listener(NamedTuple):
    """What a runner tells whoever started it: it has other lanes; things have to be looked at; an event hangs.

    Of the last it says whether the event is put aside. One that is not is told of only with `ends_when_hung`: then the
    process ends.
    """

    has_other_lanes: Callable[[], None]
    look: Callable[[], None]
    has_hung: Callable[[bool], None]
    observer: Observer = QUIET
    ends_when_hung: bool = False


class Runner:
    """Keeps its share of one generation at the end of the log."""

    def __init__(self, work: Work, progress: Progress, listener: Listener, *, is_building: bool = False) -> None:
        """`is_building`: nobody reads it yet; its place is written down at each end of the log, for the swap."""
        self._work, self._listener, self.is_building = work, listener, is_building
        self.carrier = carrier_of(work, progress, listener.observer)
        self.is_caught_up = self._is_paused = self._is_over = False
        self.gave_up: str | None = None  # why this code cannot go on
        self._mender = Mender(self.carrier)
        self._holding = Holding(self.carrier, self._mender, listener.has_other_lanes, listener.observer)
        self._wake = asyncio.Event()
        self._requests: Sequence[Request] = ()
        self._settled: set[int] = set()  # requests that were done here
        self._tried: set[int] = set()  # lanes whose parked keys were tried again, as the code may have been mended
        self._halted: EventFailure | None = None
        self._trouble: str | None = None  # why it stands
        work.reader.listen(self._wake)

    # --- what it is told ---------------------------------------------------------------------------------------------

    def has_share(self, share: Share) -> None:
        """Learn which lanes are to be worked on here."""
        if self._holding.is_given(share):
            self.wake()

    def is_asked(self, requests: Sequence[Request]) -> None:
        """Learn what is asked of the owners of its lanes."""
        self._requests = [one for one in requests if one.id not in self._settled]
        if self._requests:
            self.wake()

    def are_troubled(self, lanes: Collection[int]) -> None:
        """Learn of which lanes something is said, that is not so any more once they are claimed."""
        self._holding.troubled = lanes

    def hears(self, position: int) -> None:
        """Learn how far a lane is that is everybody's: what stands here may have been got past elsewhere."""
        if self._halted is not None and position >= self._halted.position:
            self._goes_on()

    def pause(self, is_paused: bool) -> None:
        """Stand, or go on."""
        if is_paused != self._is_paused:
            self._is_paused = is_paused
            self.wake()

    def retry(self) -> None:
        """Try parked keys again, and go on if it stands."""
        self._tried.clear()
        self._goes_on()

    def shows(self, progress: Progress) -> None:
        """From now on this progress is about it."""
        self.carrier.progress = progress
        if self.carrier.lanes:
            self.carrier.show_place()
        _show_state(self.carrier, self._trouble)

    def end(self) -> None:
        """Let go of all lanes after the batch in hand."""
        self._is_over = True
        self.wake()

    def wake(self) -> None:
        """Turn at once."""
        self._wake.set()

    @property
    def coming(self) -> frozenset[int]:
        """Lanes that it claims next."""
        return self._holding.coming

    # --- the loop ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until cancelled or ended, or until this code cannot go on."""
        backoff = Backoff(self._work.pace.first_pause, self._work.pace.longest_pause)
        try:
            while not self._is_over:
                try:
                    await self._turn()
                    backoff.reset()
                except EventFailure as failure:
                    await self._fail(failure.cause, failure)
                except Exception as error:
                    await self._recover(error, backoff)
            await self._holding.leave(self.gave_up, backoff)
        finally:
            self.carrier.close()
            self._work.reader.hear_no_more(self._wake)

    async def _turn(self) -> None:
        carrier = self.carrier
        carrier.progress.beat()
        self._wake.clear()
        await self._holding.keep(is_claiming=self._trouble is None)
        self._tried &= carrier.lanes.keys()  # what others park in one that is gone meanwhile was not tried here
        await self._do_requests()
        if self._holding.is_in_doubt and self._trouble is None:
            return  # what is noted of the lanes is loaded before anything is applied
        if self._trouble is not None or self._is_paused or not carrier.lanes:
            await _heard(self._wake, self._work.pace.longest_pause)
            return
        untried = carrier.lanes.keys() - self._tried
        if untried:
            self._tried |= untried
            await self._mender.try_unasked(untried)
            _show_state(self.carrier, self._trouble)
        if self._work.is_inline:
            await carrier.follow_appends()
        hung = carrier.hung
        if await carrier.step():
            _show_state(self.carrier, self._trouble)
            if carrier.hung > hung:
                self._listener.has_hung(True)
            return
        self._work.reader.check()
        _show_state(self.carrier, self._trouble)
        is_left = await carrier.save(at_once=self.is_building)
        if not self.is_caught_up:
            self.is_caught_up = True
            if self.is_building:
                self._listener.look()
        await _heard(self._wake, self._work.pace.save if is_left else self._work.pace.longest_pause)

    async def _do_requests(self) -> None:
        """Do what is asked of lanes here; a paused projection does it later."""
        mine = [one for one in self._requests if one.lane in self._holding.share.lanes and one.id not in self._settled]
        for request in () if self._is_paused else mine:
            stands = self._trouble is not None
            if request.lane in self.carrier.lanes:
                done = await self._mender.execute(request, self._halted.position if self._halted else 0)
            elif stands and request.verb == "retry":
                done = Done("Nothing could be loaded.")
            else:
                continue
            outcome = done.and_goes_on if stands else done.outcome
            await self._work.tenure.settle(request.id, outcome)
            self._settled.add(request.id)
            _log.info("%s, lane %d, %s: %s", self._work.name, request.lane, request.verb, outcome)
            if stands and done.has_effect:
                await self._is_mended()
            elif stands:
                await self._work.tenure.mark(request.lane, trouble=self._trouble or "")
        self._requests = [one for one in self._requests if one.id not in self._settled]  # lanes may come yet
        if mine:
            _show_state(self.carrier, self._trouble)

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    async def _recover(self, error: Exception, backoff: Backoff) -> None:
        self.carrier.progress.beat()
        if (kind := remedy(error)) in (Remedy.STOP, Remedy.GIVE_UP):
            await self._fail(error)
            return
        self._holding.doubt()
        self._trouble, self._halted = None, None  # what was asked may be done all the same: it tries, and stands again
        if kind is Remedy.PAUSE:
            self.carrier.progress.shows(self.carrier.progress.state, str(error))
            _log.warning("%s waits for its store: %s", self._work.name, error)
            await asyncio.sleep(backoff.next())
        else:
            self._listener.look()
            await asyncio.sleep(backoff.next() / 10)
        self._work.reader.forget()

    async def _fail(self, error: Exception, failure: EventFailure | None = None) -> None:
        """Stand still until somebody asks for another try; what newer code may know is left to that."""
        why = told(error)
        self._trouble, self._halted = why, failure
        _log.error("%s stopped: %s", self._work.name, why, exc_info=error)
        if remedy(error) is Remedy.GIVE_UP:  # what it means for the projection is told by who else takes it
            self.gave_up, self._is_over = why, True
            self._listener.look()
            return
        self.carrier.progress.stop(why)
        hangs = failure.position if failure is not None and self.carrier.hung else 0
        with suppress(Exception):  # the store may be what is wrong
            await self._holding.mark(why, tried=hangs if self._listener.ends_when_hung else 0)
        if hangs and self._listener.ends_when_hung:
            self._listener.has_hung(False)

    def _goes_on(self) -> None:
        if self._trouble is not None:
            self._trouble, self._halted = None, None
            self._holding.doubt()
        self.wake()

    async def _is_mended(self) -> None:
        """Go on, and have nothing said of the lanes any more."""
        await self._holding.mark()
        self._goes_on()


def _show_state(carrier: Carrier, trouble: str | None) -> None:
    progress, parked = carrier.progress, carrier.parked
    progress.parked = len(parked.since)
    if trouble is not None:
        progress.shows("stopped", trouble)
    else:
        progress.shows("parked" if parked.since else "running", parked.error)


async def _heard(wake: asyncio.Event, seconds: float) -> None:
    """Wait for it, or until the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):  # not wait_for, which may swallow a cancellation
            await wake.wait()
