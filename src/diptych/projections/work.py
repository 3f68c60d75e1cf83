"""What all that work on one generation of a projection share, and how its events are folded.

Rule: nothing here knows where the lanes are.
"""

from collections.abc import Sequence
from typing import NamedTuple

from diptych.errors import ProjectionError
from diptych.events.recorded import StoredEvent
from diptych.projections.alone import Alone
from diptych.projections.batch import Draft, Portion, concerned, draft, draft_key, draft_parked
from diptych.projections.parking import Parked
from diptych.projections.plan import Definition
from diptych.projections.tenure import Tenure
from diptych.store.protocols import ViewStore
from diptych.subscriptions.failures import EventFailure
from diptych.subscriptions.reading import LogReader, Pace
from diptych.subscriptions.thread import HangsError, WorkThread


class Work(NamedTuple):
    """A generation, where it is kept, and by what right."""

    definition: Definition
    generation: int
    views: ViewStore
    reader: LogReader
    pace: Pace
    tenure: Tenure
    alone: Alone

    @property
    def name(self) -> str:
        """The projection's."""
        return self.definition.name

    @property
    def is_inline(self) -> bool:
        """Whether appends fold it too."""
        return self.definition.mode == "inline"

    @property
    def may_park(self) -> bool:
        """Whether a failing key can be put aside."""
        return self.definition.is_isolated and not self.is_inline


class Folding:
    """Folds events off the event loop, over the rows that they need."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._thread = WorkThread(f"diptych-{work.name}", work.pace.handler_seconds)

    async def portion(self, portion: Portion, parked: Parked) -> Draft:
        """Fold a piece of a page. :raises EventFailure: one of its events cannot be taken. :raises HangsError:"""
        definition = self._work.definition
        try:
            drafted = await self._thread.run(draft, definition, portion, parked.since, parked.left_out)
            return await self._filled(drafted)
        except HangsError as hang:
            mine = concerned(definition, *portion)
            if len(mine) != 1:
                raise
            raise self.blame(portion.page.rows[mine[0]], str(hang)) from hang

    async def parked(self, events: Sequence[StoredEvent]) -> Draft:
        """Fold events that were put aside, all of one key. :raises EventFailure: one of them still fails."""
        try:
            reading = self._work.reader.codec
            return await self._filled(await self._thread.run(draft_parked, self._work.definition, reading, events))
        except HangsError as hang:
            raise self.blame(events[0], str(hang)) from hang

    async def key(self, key: str, events: Sequence[StoredEvent]) -> Draft:
        """Fold all events of a key as if it had no rows yet. :raises EventFailure: one of them fails."""
        try:
            return await self._thread.run(draft_key, self._work.definition, self._work.reader.codec, key, events)
        except HangsError as hang:
            raise self.blame(events[0], str(hang)) from hang

    def blame(self, event: StoredEvent, why: str) -> EventFailure:
        """Make a failure of an event."""
        return EventFailure(event.position, ProjectionError(self._work.name, event.position, event.type, why))

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.close()

    async def _filled(self, batch: Draft) -> Draft:
        if batch.loads:
            rows = await self._work.views.load(self._work.generation, batch.loads)
            await self._thread.run(batch.finish, rows)
        return batch
