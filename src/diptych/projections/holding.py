"""The lanes that this process has of a generation: claimed and let go of between two batches.

Rule: what was said of a share is only advice; a claim that gets nothing is asked for again at the next word.
"""

import asyncio
from collections.abc import Callable, Collection

from diptych.projections.carrying import Carrier
from diptych.projections.mending import Mender
from diptych.subscriptions.failures import OF_THE_STORE, Backoff
from diptych.subscriptions.spreading import Share
from diptych.telemetry.observer import LeaseChange, Observer


class Holding:
    """Brings the lanes of a carrier in line with its share."""

    def __init__(
        self, carrier: Carrier, mender: Mender, has_other_lanes: Callable[[], None], observer: Observer
    ) -> None:
        self._carrier, self._mender, self._has_other_lanes = carrier, mender, has_other_lanes
        self._observer, self._had = observer, frozenset[int]()
        self._tenure = carrier.work.tenure
        self.share, self.coming = Share(), frozenset[int]()  # `coming` are claimed next
        self.troubled: Collection[int] = ()  # lanes that the board says something of
        self._must_reload = False

    def is_given(self, share: Share) -> bool:
        """Learn which lanes are to be worked on here; returns whether that is news."""
        coming = share.free - self._carrier.lanes.keys()
        is_news = bool(coming or share.over) or share != self.share
        self.share, self.coming = share, coming
        return is_news

    @property
    def is_in_doubt(self) -> bool:
        """Whether all of it is to be claimed and loaded again."""
        return self._must_reload

    def doubt(self) -> None:
        """Claim and load all of it again: what is known of the lanes may not be so."""
        self._must_reload = True

    async def keep(self, *, is_claiming: bool) -> None:
        """Let go of lanes that are another's to have, and claim those of ours that are free. :raises StoreError:"""
        if self._must_reload and is_claiming:
            self._must_reload, self.coming = False, self.share.lanes
            self._had = frozenset(self._carrier.lanes)
            self._carrier.drop(list(self._carrier.lanes))
        over = (self._carrier.lanes.keys() | self.share.over) - self.share.lanes
        if over:
            await self._let_go(over)
            self.share = self.share._replace(over=frozenset())
        if self.coming and is_claiming:
            self._must_reload = True  # if it fails half-way, all is claimed again
            held = await self._tenure.claim(self.coming)
            self.coming = frozenset()
            await self._carrier.take(held)
            for one in held:
                if one.lane in self.troubled:
                    await self._tenure.mark(one.lane, attempt=self._carrier.lanes[one.lane].attempt)
            await self._mender.look([one.lane for one in held])
            self._must_reload = False
            self._tell("taken", self._carrier.lanes.keys() - self._had)
            self._tell("lost", self._had - self._carrier.lanes.keys())
            self._had = frozenset(self._carrier.lanes)
            self._has_other_lanes()

    async def mark(self, trouble: str = "", *, tried: int = 0) -> None:
        """Note why all of it stands, and at which event if the next worker is to take care; nothing: it goes on."""
        lanes = self._carrier.lanes
        for number in self.share.lanes:
            attempt = lanes[number].tried(tried) if tried and number in lanes else 0
            await self._tenure.mark(number, attempt=attempt, trouble=trouble)

    async def leave(self, trouble: str | None, backoff: Backoff) -> None:
        """Let go of everything, however long the store is away: another worker may wait for it."""
        lanes = list(self._carrier.lanes)
        while True:
            try:
                return await self._let_go(lanes, trouble)
            except OF_THE_STORE:
                await asyncio.sleep(backoff.next())

    async def _let_go(self, lanes: Collection[int], trouble: str | None = None) -> None:
        numbers = list(lanes)
        self._carrier.drop(numbers)
        if numbers:
            await self._tenure.release(numbers, trouble)
            self._had = frozenset(self._carrier.lanes)
            self._tell("released", numbers)
            self._has_other_lanes()

    def _tell(self, change: LeaseChange, lanes: Collection[int]) -> None:
        for lane in sorted(lanes):
            self._observer.lease_changed(self._carrier.work.name, lane, change)
