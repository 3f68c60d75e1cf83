"""One step of a projection: the events of a page that concern it, decoded, and what they do.

Rule: everything here runs on the projection's own thread, and touches neither store nor event loop.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from diptych.errors import ProjectionError, StoreError, UnknownEventTypeError
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent, StoredMetadata
from diptych.projections.fold import BatchFold
from diptych.projections.piece import Piece, piece
from diptych.projections.plan import Definition
from diptych.store.batches import Db, Load, RowChanges
from diptych.subscriptions.failures import EventFailure, named
from diptych.subscriptions.reading import SharedPage
from diptych.subscriptions.sliced import ELSEWHERE

RunScript: TypeAlias = Callable[[Db], Awaitable[None]]
_MANY: Final = 500  # events in a page: so far behind, sharing what is decoded costs more than it saves


class Draft:
    """What a batch will write. If it `loads` rows, `finish` must be given them first."""

    __slots__ = ("_fold", "changes", "loads", "script", "waiting")

    def __init__(self, fold: BatchFold | None = None, waiting: Sequence[tuple[str, int]] = ()) -> None:
        self._fold, self.waiting = fold, waiting
        self.changes: Sequence[RowChanges] = ()
        self.script: RunScript | None = None
        self.loads: Sequence[Load] = ()
        if fold is not None:
            self.loads = fold.loads()
            if not self.loads:
                self.changes = fold.run({})

    @property
    def is_empty(self) -> bool:
        """Whether nothing but the checkpoint would move."""
        return not (self.changes or self.waiting or self.script)

    def finish(self, rows: Mapping[str, Sequence[Any]]) -> None:
        """Fold over the rows that `loads` asked for."""
        if self._fold is not None:
            self.changes = self._fold.run(rows)


def concerned(definition: Definition, page: SharedPage, indexes: range, lanes: Collection[int] | None) -> list[int]:
    """Return which events of a piece of a page these lanes of a projection act on; None: all lanes."""
    types, takes = page.types, definition.takes
    if lanes is None:
        return [index for index in indexes if types[index] in takes]
    of = page.lanes(definition.tables.lanes)
    return [index for index in indexes if types[index] in takes and of[index] in lanes]


class Portion(NamedTuple):
    """A piece of a page, and whose: `lanes` are those that it is for, None if it is for all."""

    page: SharedPage
    indexes: range
    lanes: Collection[int] | None = None


def draft(
    definition: Definition, given: Portion, parked: Mapping[str, int], left_out: frozenset[int] = frozenset()
) -> Draft:
    """Fold a piece of a page; events of parked keys wait, and those at the positions `left_out` are passed over.

    :raises EventFailure: naming the first bad one.
    """
    page, indexes, _ = given
    types = page.types
    _refuse_unknown(page, indexes, set(types[indexes.start : indexes.stop]) - definition.takes - {ELSEWHERE})
    mine = concerned(definition, *given)
    if left_out:
        mine = [index for index in mine if page.after + 1 + index not in left_out]
    waiting: list[tuple[str, int]] = []
    stream_ids = page.stream_ids
    if parked:
        late = [index for index in mine if parked.get(stream_ids[index], page.scanned + 1) <= page.after + 1 + index]
        waiting = [(stream_ids[index], page.after + 1 + index) for index in late]
        mine = sorted(set(mine).difference(late))
    decode = page.event if len(page.rows) < _MANY or not definition.is_isolated else page.decode
    wanted = Piece(page.rows, mine, types, stream_ids, decode)
    if definition.script is not None:
        made = Draft(None, waiting)
        made.script = script_of(definition, wanted)
        return made
    return Draft(BatchFold(definition, wanted) if mine else None, waiting)


def _refuse_unknown(page: SharedPage, indexes: range, names: set[str]) -> None:
    """:raises EventFailure: the code does not know an event, and would pass it in silence (I2)."""
    unknown = [page.types.index(name, indexes.start) for name in names if not page.codec.knows(name)]
    if unknown:
        row = page.rows[min(unknown)]
        raise EventFailure(row.position, UnknownEventTypeError(row.type, row.schema_version, row.position))


def draft_parked(definition: Definition, codec: Codec, events: Sequence[StoredEvent]) -> Draft:
    """Fold events that were put aside, all of one key. :raises EventFailure: one of them still fails."""
    return Draft(BatchFold(definition, piece(events, definition.takes, codec)))


def draft_key(definition: Definition, codec: Codec, key: str, events: Sequence[StoredEvent]) -> Draft:
    """Fold all events of a key of an isolated projection, as if it had no rows; tables that get none lose theirs.

    :raises EventFailure: one of the events fails.
    """
    folded = BatchFold(definition, piece(events, definition.takes, codec)).run({})
    upserts = {changes.table.name: changes.upserts for changes in folded if changes.upserts}
    made = Draft()
    made.changes = [
        RowChanges(keys.table, upserts[keys.table.name])
        if keys.table.name in upserts
        else RowChanges(keys.table, deletes=[keys.values(key)])
        for keys in definition.sheets
    ]
    return made


def script_of(definition: Definition, piece: Piece) -> RunScript | None:
    """Return the projection's own SQL for these events, or None if there is nothing to run."""
    script = definition.script
    if script is None or not piece.indexes:
        return None

    async def run(db: Db) -> None:
        for index in piece.indexes:
            event, stored = piece.event(index), piece.rows[index]
            try:
                await script.call(event, StoredMetadata(stored), db)
            except StoreError:
                raise
            except BaseException as error:  # SystemExit too: a handler may not end the process
                why = named(error)
                cause = ProjectionError(definition.name, stored.position, stored.type, why)
                cause.__cause__ = error
                raise EventFailure(stored.position, cause) from error

    return run
