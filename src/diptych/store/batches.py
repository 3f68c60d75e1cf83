"""What projections hand to a view store: rows to load, rows to write, and the checkpoints that move with them.

Rule: plain values; what a store does with them is `protocols.py`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

from diptych.events.recorded import StoredEvent
from diptych.store.tables import Table, fingerprint


class Checkpoint(NamedTuple):
    """How far a projection got. `event_id` is of the event at `position`, so that another history is noticed."""

    position: int = 0
    epoch: int = 0
    event_id: bytes = b""
    recorded_at: int = 0  # of the event at `position`


class Load(NamedTuple):
    """Rows to fetch: those whose `columns` equal one of `values` (tuples of Python values)."""

    table: Table
    columns: tuple[str, ...]
    values: Sequence[tuple[Any, ...]]


class RowChanges(NamedTuple):
    """What a batch does to one table: the rows as they shall be, and the keys of those that shall be gone."""

    table: Table
    upserts: Sequence[Any] = ()
    deletes: Sequence[tuple[Any, ...]] = ()


class ParkedEvent(NamedTuple):
    """One event put aside: the failing one of its key, or a later one of the same key waiting behind it."""

    key: str
    position: int
    error: str = ""  # empty for those that only wait
    lane: int = 0


class Db(Protocol):
    """What hand-written SQL of a projection gets: named parameters, its own tables, its batch's transaction."""

    async def execute(self, sql: str, **parameters: Any) -> None:
        """Write. INSERT needs ON CONFLICT, so that it may run twice."""
        ...

    async def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Read."""
        ...


class LaneMove(NamedTuple):
    """Guard: the lane stands at (epoch, expected). Several lanes at one position move together."""

    lane: int
    epoch: int
    expected: int


class RowGuard(NamedTuple):
    """Guard: the row with this key is there, and a column has this value; without a column, that it is not there."""

    table: Table
    key: tuple[Any, ...]
    column: str = ""
    value: Any = None


class Answer(NamedTuple):
    """What is said of the request that a batch carries out, written with it: nothing is done unsaid, or said undone."""

    request: int
    outcome: str


class ViewBatch(NamedTuple):
    """What one step of a projection writes, in one transaction with the checkpoints of its lanes (P1, P2).

    `position` is where the lanes stand afterwards, `event_id` and `recorded_at` are of the event there. What commits
    with an append (`Append.beside`) may move no lane, and rest on rows instead.
    """

    projection: str
    generation: int
    moves: Sequence[LaneMove]
    position: int
    event_id: bytes = b""
    recorded_at: int = 0
    changes: Sequence[RowChanges] = ()
    parked: Sequence[ParkedEvent] = ()
    unparked: Sequence[str] = ()  # keys whose parked events are part of `changes`
    script: Callable[[Db], Awaitable[None]] | None = None  # hand-written SQL, run before `changes`
    answer: Answer | None = None  # to the request that this carries out
    guards: Sequence[RowGuard] = ()


class Fold(Protocol):
    """A projection as a store sees it when it folds inside an append. All pure but `script`."""

    name: str

    def loads(self, events: Sequence[StoredEvent]) -> Sequence[Load]:
        """Say which rows these events may change or look at."""
        ...

    def fold(self, events: Sequence[StoredEvent], rows: Mapping[str, Sequence[Any]]) -> Sequence[RowChanges]:
        """Return what these events do to those rows (by table name). :raises ProjectionError:"""
        ...

    def script(self, events: Sequence[StoredEvent]) -> Callable[[Db], Awaitable[None]] | None:
        """Hand-written SQL for these events, or None."""
        ...


class ProjectionTables(NamedTuple):
    """What a view store must know of a projection before it can keep its rows."""

    name: str
    tables: Sequence[Table]
    version: int = 1
    lanes: int = 1
    code: str = ""  # a hash of what its methods do, a hint
    is_owed: bool = False  # a saga's or a reaction's: what it holds cannot be built again of the log

    @property
    def shape(self) -> str:
        """A digest of what its tables look like."""
        return blake2b(fingerprint(self.tables).encode(), digest_size=16).hexdigest()


class Freshness(NamedTuple):
    """Where a projection stood in the very snapshot a read was made from: its live generation, the least lane of it."""

    checkpoint: Checkpoint
    parked: int = 0
    generation: int = 0
