"""One step of a projection: the events of a page that concern it, decoded, and what they do.

Rule: everything here runs on the projection's own thread, and touches neither store nor event loop.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from diptych.errors import ConfigurationError, DataError, ProjectionError, StoreError, UnknownEventTypeError
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent, StoredMetadata
from diptych.projections.fold import BatchFold, Decode
from diptych.projections.plan import Definition
from diptych.store.protocols import Db, Load, RowChanges
from diptych.subscriptions.failures import EventFailure
from diptych.subscriptions.reading import SharedPage

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


def draft(definition: Definition, page: SharedPage, indexes: range, parked: Mapping[str, int]) -> Draft:
    """Fold a piece of a page; events of parked keys wait. :raises EventFailure: naming the first bad one."""
    mine: list[StoredEvent] = []
    waiting: list[tuple[str, int]] = []
    rows, takes, knows = page.rows, definition.takes, page.codec.knows
    known: set[str] = set()
    for index in indexes:
        stored = rows[index]
        name = stored[6]
        if name in takes:
            if parked and parked.get(stored[3], stored[0] + 1) <= stored[0]:
                waiting.append((stored[3], stored[0]))
            else:
                mine.append(stored)
        elif name not in known:
            if not knows(name):
                raise EventFailure(stored[0], UnknownEventTypeError(name, stored.schema_version, stored[0]))
            known.add(name)
    decode = decoder(page.event_of if len(rows) < _MANY or not definition.is_isolated else page.codec.decode)
    if definition.script is not None:
        made = Draft(None, waiting)
        made.script = script_of(definition, mine, decode)
        return made
    return Draft(BatchFold(definition, mine, decode) if mine else None, waiting)


def draft_parked(definition: Definition, codec: Codec, events: Sequence[StoredEvent]) -> Draft:
    """Fold events that were put aside, all of one key. :raises EventFailure: one of them still fails."""
    return Draft(BatchFold(definition, events, decoder(codec.decode)))


def script_of(definition: Definition, rows: Sequence[StoredEvent], decode: Decode) -> RunScript | None:
    """Return the projection's own SQL for these events, or None if there is nothing to run."""
    script = definition.script
    if script is None or not rows:
        return None

    async def run(db: Db) -> None:
        for stored in rows:
            event = decode(stored)
            try:
                await script.call(event, StoredMetadata(stored), db)
            except (StoreError, GeneratorExit):  # the latter: it awaited what it may not, and is told so
                raise
            except BaseException as error:  # SystemExit too: a handler may not end the process
                why = f"{type(error).__name__}: {error}"
                cause = ProjectionError(definition.name, stored.position, stored.type, why)
                cause.__cause__ = error
                raise EventFailure(stored.position, cause) from error

    return run


def decoder(decode: Decode) -> Decode:
    """Return the same, failing with the position of the event that cannot be read."""

    def naming(stored: StoredEvent) -> Any:
        try:
            return decode(stored)
        except (DataError, ConfigurationError) as error:
            raise EventFailure(stored.position, error) from error

    return naming
