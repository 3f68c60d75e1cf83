"""Lanes that other processes work on: looked at while somebody here waits for them.

Rule: read only. A checkpoint with nothing of interest behind it is as good as one further on: its owner writes that
down only once a second.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from diptych.errors import DiptychError
from diptych.events.recorded import StoredEvent
from diptych.store.protocols import EventStore, Page, ViewStore
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.progress import Place, Progress

_FIRST: Final = 0.002
_LONGEST: Final = 0.02
_SOME: Final = 200  # events; whoever is further behind is found to be no nearer


class Elsewhere:
    """Keeps a progress informed of the lanes that others have."""

    def __init__(self, progress: Progress, events: EventStore, views: ViewStore) -> None:
        self._progress, self._events, self._views = progress, events, views
        self._watching: asyncio.Task[None] | None = None
        self.lanes = 1  # how many the generation has
        self.knows = True  # what its owners take is what this code takes

    def is_wanted(self) -> None:
        """Look again and again while somebody waits."""
        if self._progress.elsewhere and (self._watching is None or self._watching.done()):
            self._watching = asyncio.create_task(self._watch(), name=f"diptych-elsewhere-{self._progress.name}")

    def close(self) -> None:
        """Look no more."""
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        pause = _FIRST
        while self._progress.is_waited_for and self._progress.elsewhere:
            with suppress(DiptychError):
                await self.look()
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST)

    async def look(self) -> None:
        """See where those lanes are, and how old what they have not applied is. :raises StoreError:"""
        progress, generation = self._progress, self._progress.generation
        places = await self._views.places(progress.name, generation)
        found = {lane: Place(at.position, at.recorded_at, at.event_id) for lane, at in enumerate(places)}
        least = min((found[lane] for lane in progress.elsewhere if lane in found), default=None)
        if least is not None and least.position < max(progress.least_wanted, progress.head):
            page = await self._events.read_log(after=least.position, types=progress.event_types, limit=_SOME)
            progress.head = max(progress.head, page.head.position)
            if self.knows:
                found = await self._credited(found, page)
            oldest = next((event for event in page.events if self._is_new(event, found)), None)
            progress.behind_since = None if oldest is None else oldest.recorded_at
        if generation == progress.generation:
            progress.hears({lane: place for lane, place in found.items() if lane in progress.elsewhere})

    def _is_new(self, event: StoredEvent, places: Mapping[int, Place]) -> bool:
        lane = lane_of(event.stream_id, self.lanes)
        return lane in self._progress.elsewhere and event.position > places[lane].position

    async def _credited(self, places: Mapping[int, Place], page: Page) -> dict[int, Place]:
        """Move each lane to right before its next event, or to the end of what was looked through."""
        after: dict[int, int] = {}
        for event in page.events:
            lane = lane_of(event.stream_id, self.lanes)
            if lane in places and event.position > places[lane].position:
                after.setdefault(lane, event.position - 1)
        head = page.head
        known: dict[int, Place] = {head.position: Place(head.position, head.recorded_at, head.event_id)}
        credited: dict[int, Place] = {}
        for lane, place in places.items():
            to = after.get(lane, page.scanned)
            if to > place.position and to not in known:
                there: Sequence[StoredEvent] = (await self._events.read_log(after=to - 1, limit=1)).events
                known[to] = Place(to, there[0].recorded_at, there[0].event_id) if there else place
            credited[lane] = max(place, known.get(to, place))
        return credited
