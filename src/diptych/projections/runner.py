"""The loop that works on the lanes of one generation that are this process's share.

Rule: nothing but cancellation and its own end leaves `run`; whatever goes wrong is in its `Progress` (P7).
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from diptych.errors import DiptychError, StoreError
from diptych.projections.carrying import Carrier
from diptych.projections.mending import Done, Mender
from diptych.projections.work import Work
from diptych.store.leases import Request
from diptych.subscriptions.failures import Backoff, EventFailure, Remedy, remedy
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.spreading import Share

_log: Final = logging.getLogger("diptych.projections")


class Listener(NamedTuple):
    """What a runner tells whoever started it: it has other lanes; things have to be looked at; an event hangs."""

    has_other_lanes: Callable[[], None]
    look: Callable[[], None]
    has_hung: Callable[[], None]


class Runner:
    """Keeps its share of one generation at the end of the log."""

    def __init__(self, work: Work, progress: Progress, listener: Listener, *, is_building: bool = False) -> None:
        """`is_building`: nobody reads it yet; its place is written down at each end of the log, for the swap."""
        self._work, self._listener, self.is_building = work, listener, is_building
        self.carrier = Carrier(work, progress)
        self.is_caught_up = False
        self.gave_up: str | None = None  # why this code cannot go on
        self._mender = Mender(self.carrier)
        self._wake = asyncio.Event()
        self._share, self._to_claim = Share(), frozenset[int]()
        self._requests: Sequence[Request] = ()
        self._settled: set[int] = set()  # requests that were done here
        self._tried: set[int] = set()  # lanes whose parked keys were tried again, as the code may have been mended
        self._is_paused = self._must_reload = self._is_over = False
        self._halted: EventFailure | None = None
        self._trouble: str | None = None  # why it stands
        work.reader.listen(self._wake)

    # --- what it is told ---------------------------------------------------------------------------------------------

    def has_share(self, share: Share) -> None:
        """Learn which lanes are to be worked on here."""
        if share != self._share or share.free - self.carrier.lanes.keys():
            self._share, self._to_claim = share, share.free - self.carrier.lanes.keys()
            self.wake()

    def is_asked(self, requests: Sequence[Request]) -> None:
        """Learn what is asked of the owners of its lanes."""
        self._requests = [one for one in requests if one.id not in self._settled]
        if self._requests:
            self.wake()

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
        self._show_state()

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
        return self._to_claim

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
            await self._leave(backoff)
        finally:
            self.carrier.close()
            self._work.reader.hear_no_more(self._wake)

    async def _turn(self) -> None:
        self.carrier.progress.beat()
        self._wake.clear()
        await self._keep_share()
        await self._do_requests()
        if self._trouble is not None or self._is_paused or not self.carrier.lanes:
            await self._sleep(self._work.pace.longest_pause)
            return
        untried = self.carrier.lanes.keys() - self._tried
        if untried:
            self._tried |= untried
            await self._mender.try_unasked(untried)
            self._show_state()
        if self._work.is_inline:
            await self._follow_appends()
        hung = self.carrier.hung
        if await self.carrier.step():
            self._show_state()
            if self.carrier.hung > hung:
                self._listener.has_hung()
            return
        self._work.reader.check()
        self._show_state()
        is_left = await self.carrier.save(at_once=self.is_building)
        if not self.is_caught_up:
            self.is_caught_up = True
            if self.is_building:
                self._listener.look()
        await self._sleep(self._work.pace.save if is_left else self._work.pace.longest_pause)

    async def _keep_share(self) -> None:
        """Let go of lanes that are another's to have, and claim those of ours that are free."""
        if self._must_reload and self._trouble is None:
            self._must_reload, self._to_claim = False, self._share.lanes
            self.carrier.drop(list(self.carrier.lanes))
        over = self.carrier.lanes.keys() - self._share.lanes
        if over:
            await self._let_go(over)
        if self._to_claim and self._trouble is None:
            self._must_reload = True  # if it fails half-way, all is claimed again
            held = await self._work.tenure.claim(self._to_claim)
            self._to_claim = frozenset()
            await self.carrier.take(held)
            await self._mender.look([one.lane for one in held])
            self._must_reload = False
            self._listener.has_other_lanes()

    async def _let_go(self, lanes: Collection[int], trouble: str | None = None) -> None:
        numbers = list(lanes)
        self.carrier.drop(numbers)
        if numbers or trouble:
            await self._work.tenure.release(numbers, trouble)
            self._listener.has_other_lanes()

    async def _leave(self, backoff: Backoff) -> None:
        """Let go of everything, however long the store is away: another worker may wait for it."""
        lanes = list(self.carrier.lanes)
        while True:
            try:
                return await self._let_go(lanes, self.gave_up)
            except StoreError:
                await asyncio.sleep(backoff.next())

    async def _do_requests(self) -> None:
        """Do what is asked of lanes here; a paused projection does it later."""
        mine = [one for one in self._requests if one.lane in self._share.lanes and one.id not in self._settled]
        for request in () if self._is_paused else mine:
            stands = self._trouble is not None
            if request.lane in self.carrier.lanes:
                done = await self._mender.execute(request, self._halted.position if self._halted else 0)
            elif stands and request.verb == "retry":
                done = Done("Nothing could be loaded.")
            else:
                continue
            outcome = f"{done.outcome} It goes on." if stands and done.has_effect else done.outcome
            await self._work.tenure.settle(request.id, outcome)
            self._settled.add(request.id)
            _log.info("%s, lane %d, %s: %s", self._work.name, request.lane, request.verb, outcome)
            if stands and done.has_effect:
                await self._is_mended()
        self._requests = ()
        if mine:
            self._show_state()

    async def _follow_appends(self) -> None:
        """See how far the appends themselves have brought an inline projection."""
        lane = self.carrier.lanes[0]
        places = await self._work.views.places(self._work.name, self._work.generation)
        if places and places[0].position > lane.saved.position:
            lane.is_written(places[0], lane.saved_at)
            self.carrier.show_place()

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    async def _recover(self, error: Exception, backoff: Backoff) -> None:
        self.carrier.progress.beat()
        if (kind := remedy(error)) in (Remedy.STOP, Remedy.GIVE_UP):
            await self._fail(error)
            return
        self._must_reload = True
        if kind is Remedy.PAUSE:
            self.carrier.progress.shows(self.carrier.progress.state, str(error))
            _log.warning("%s waits for its store: %s", self._work.name, error)
            await asyncio.sleep(backoff.next())
            self._work.reader.forget()
        else:
            self._listener.look()
            await asyncio.sleep(backoff.next() / 10)

    async def _fail(self, error: Exception, failure: EventFailure | None = None) -> None:
        """Stand still until somebody asks for another try; what newer code may know is left to that."""
        why = str(error) if isinstance(error, DiptychError) else f"{type(error).__name__}: {error}"
        self._trouble, self._halted = why, failure
        self.carrier.progress.stop(why)
        _log.error("%s stopped: %s", self._work.name, why, exc_info=error)
        if remedy(error) is Remedy.GIVE_UP:
            self.gave_up, self._is_over = why, True
            self._listener.look()
            return
        with suppress(Exception):  # the store may be what is wrong
            for number in self._share.lanes:
                await self._work.tenure.mark(number, trouble=why)
        if self.carrier.hung and failure is not None:
            self._listener.has_hung()

    def _goes_on(self) -> None:
        if self._trouble is not None:
            self._trouble, self._halted, self._must_reload = None, None, True
        self.wake()

    async def _is_mended(self) -> None:
        """Go on, and have nothing said of the lanes any more."""
        for number in self.carrier.lanes:
            await self._work.tenure.mark(number)
        self._goes_on()

    def _show_state(self) -> None:
        progress, parked = self.carrier.progress, self.carrier.parked
        progress.parked = len(parked.since)
        if self._trouble is not None:
            progress.shows("stopped", self._trouble)
        else:
            progress.shows("parked" if parked.since else "running", parked.error)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
