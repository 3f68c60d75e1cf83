"""A projection as a store folds it inside an append: events, rows and answer commit together or not at all.

Rule: called on the store's writer thread; an error here refuses its append and nothing else.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.projections.batch import script_of
from diptych.projections.fold import BatchFold
from diptych.projections.piece import Piece, piece
from diptych.projections.plan import Definition
from diptych.store.batches import Db, Load, RowChanges
from diptych.subscriptions.failures import EventFailure


class InlineFold:
    """One inline projection, for `Append.inline`. Holds no state between appends."""

    def __init__(self, definition: Definition, codec: Codec) -> None:
        self.name = definition.name
        self._definition, self._codec = definition, codec

    def loads(self, events: Sequence[StoredEvent]) -> Sequence[Load]:
        """Say which rows these events may change or look at. :raises ProjectionError: a key cannot be found."""
        mine = self._mine(events)
        if self._definition.script is not None or not mine.indexes:
            return ()
        try:
            return BatchFold(self._definition, mine).loads()
        except EventFailure as failure:
            raise failure.cause from failure

    def fold(self, events: Sequence[StoredEvent], rows: Mapping[str, Sequence[Any]]) -> Sequence[RowChanges]:
        """Return what these events do to those rows (by table name). :raises ProjectionError: a handler failed."""
        mine = self._mine(events)
        if self._definition.script is not None or not mine.indexes:
            return ()
        try:
            return BatchFold(self._definition, mine).run(rows)
        except EventFailure as failure:
            raise failure.cause from failure

    def script(self, events: Sequence[StoredEvent]) -> Callable[[Db], Awaitable[None]] | None:
        """Return the projection's own SQL for these events, or None. It raises ProjectionError when it fails."""
        run = script_of(self._definition, self._mine(events))
        if run is None:
            return None
        script = run

        async def refusing(db: Db) -> None:
            try:
                await script(db)
            except EventFailure as failure:
                raise failure.cause from failure

        return refusing

    def _mine(self, events: Sequence[StoredEvent]) -> Piece:
        return piece(events, self._definition.takes, self._codec)
