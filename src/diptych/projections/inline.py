"""A projection as a store folds it inside an append: events, rows and answer commit together or not at all.

Rule: called on the store's writer thread; an error here refuses its append and nothing else.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.projections.batch import decoder, script_of
from diptych.projections.fold import BatchFold
from diptych.projections.plan import Definition
from diptych.store.protocols import Db, Load, RowChanges
from diptych.subscriptions.failures import EventFailure


class InlineFold:
    """One inline projection, for `Append.inline`. Holds no state between appends."""

    def __init__(self, definition: Definition, codec: Codec) -> None:
        self.name = definition.name
        self._definition, self._decode = definition, decoder(codec.decode)

    def loads(self, events: Sequence[StoredEvent]) -> Sequence[Load]:
        """Say which rows these events may change or look at. :raises ProjectionError: a key cannot be found."""
        mine = self._mine(events)
        if self._definition.script is not None or not mine:
            return ()
        try:
            return BatchFold(self._definition, mine, self._decode).loads()
        except EventFailure as failure:
            raise failure.cause from failure

    def fold(self, events: Sequence[StoredEvent], rows: Mapping[str, Sequence[Any]]) -> Sequence[RowChanges]:
        """Return what these events do to those rows (by table name). :raises ProjectionError: a handler failed."""
        mine = self._mine(events)
        if self._definition.script is not None or not mine:
            return ()
        try:
            return BatchFold(self._definition, mine, self._decode).run(rows)
        except EventFailure as failure:
            raise failure.cause from failure

    def script(self, events: Sequence[StoredEvent]) -> Callable[[Db], Awaitable[None]] | None:
        """Return the projection's own SQL for these events, or None. It raises ProjectionError when it fails."""
        run = script_of(self._definition, self._mine(events), self._decode)
        if run is None:
            return None
        script = run

        async def refusing(db: Db) -> None:
            try:
                await script(db)
            except EventFailure as failure:
                raise failure.cause from failure

        return refusing

    def _mine(self, events: Sequence[StoredEvent]) -> list[StoredEvent]:
        return [stored for stored in events if stored[6] in self._definition.takes]
