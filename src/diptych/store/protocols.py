"""The two stores, on one page. Every backend is these two and nothing else.

`EventStore` keeps the log and all that commits with it; `ViewStore` keeps rows, always with their checkpoint.
Rule: whatever is said here holds on every backend, and `diptych.testing.contracts` shows it.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from diptych.events.recorded import NewEvent, StoredEvent
from diptych.store.alerts import Alerts
from diptych.store.batches import Checkpoint, Fold, Freshness, Load, ParkedEvent, ProjectionTables, ViewBatch
from diptych.store.generations import Generations
from diptych.store.leases import Leases
from diptych.store.tables import Column, Table
from diptych.stream import Expected, StreamName

# --- what an append is made of: guards and writes ---------------------------------------------------------------


class StreamWrite(NamedTuple):
    """Write these events directly after `expected`. Without events it is a guard: the stream must be there."""

    stream: StreamName
    expected: Expected
    events: Sequence[NewEvent] = ()


class CommandKey(NamedTuple):
    """Under this key a command takes effect once (C1)."""

    tenant: str
    user_id: str
    command_type: str
    command_id: UUID


class CommandRecord(NamedTuple):
    """Guard: the key is unused. Write: the key, a hash of what the caller gave, and the handler's result as JSON."""

    key: CommandKey
    hash: bytes
    result: str


class StoredCommand(NamedTuple):
    """What an earlier append of this command left: enough to give the first answer again."""

    hash: bytes
    result: str
    position: int
    event_id: bytes
    streams: Mapping[StreamName, int]
    event_types: frozenset[str]


class Append(NamedTuple):
    """All or nothing (L7). `metadata` is JSON text, the same for all events of the append.

    `inline` projections are folded inside the same transaction, those only whose checkpoint is at the head before it.
    `beside` is written there, too, to the rows of `EventStore.inline`, with its guards; its append may have no events.
    """

    writes: Sequence[StreamWrite]
    metadata: str = "{}"
    command: CommandRecord | None = None
    inline: Sequence[Fold] = ()
    beside: ViewBatch | None = None


class Appended(NamedTuple):
    """The append is on disk. `position` and `event_id` are of its last event, or of the head if it had none.

    `together` says how many appends its transaction judged, itself included; `folded` names the inline projections
    whose rows were written with it.
    """

    position: int
    event_id: bytes
    recorded_at: int
    versions: Sequence[int]  # of the streams that got events, in the order of `Append.writes`
    together: int = 1
    folded: Collection[str] = ()


class Head(NamedTuple):
    """The end of the log: position 0, no event id and time 0 when it is empty."""

    position: int = 0
    event_id: bytes = b""
    recorded_at: int = 0


class Page(NamedTuple):
    """A piece of the log: all matching events after `after` and up to `scanned`, read under one snapshot with `head`.

    Without a type filter its positions are contiguous; `SkippedPositionsError` otherwise (P4). `before` is the id of
    the event at `after`: empty at the beginning of the log, and past its end. `last` is the event at `scanned`, told
    by `read_slices`, which counts the events that it leaves out: no position up to there is missing.
    """

    after: int
    scanned: int
    events: Sequence[StoredEvent]
    head: Head
    before: bytes = b""
    last: Head = Head()


class EventStore(Protocol):
    """The log: append-only, in one order, with contiguous positions (L1 to L8).

    Every method raises `StoreError` or a subclass when the store cannot do its work, never a driver's exception.
    """

    store_id: UUID

    @property
    def inline(self) -> "ViewStore":
        """The rows that commit with the log."""
        ...

    async def open(self) -> None:
        """Create or migrate the store. :raises StoreNewerThanCodeError: and nothing is touched."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of every connection, thread and file."""
        ...

    async def append(self, append: Append) -> Appended:
        """Store all of it or nothing; when this returns it is on disk. Never cancelled half-way.

        :raises CommandKeyTaken: the command id was used; looked up before any version is judged.
        :raises WrongExpectedVersionError: a stream is elsewhere; nothing is stored.
        :raises CheckpointMovedError: a lane of `beside` is elsewhere; nothing is stored.
        :raises RowChangedError: a row that `beside` rests on is another, or gone; nothing is stored.
        :raises InvalidInputError: too many or too large events.
        :raises UnknownOutcomeError: the commit was sent and not confirmed.
        """
        ...

    async def read_stream(self, stream: StreamName, *, first: int = 1) -> Sequence[StoredEvent]:
        """Return the events of a stream from version `first` on, itself included, in order; none if it is not there.

        :raises CorruptedEventError: a row does not match its checksum.
        """
        ...

    async def streams_of(self, id: UUID) -> Sequence[StreamName]:
        """Return all streams with this id, of any tenant and category."""
        ...

    async def read_log(self, *, after: int, types: frozenset[str] | None = None, limit: int = 1000) -> Page:
        """Return up to `limit` events after a position, of these types or of all; at most about 4 MB of payload."""
        ...

    async def read_slices(self, *, after: int, slices: range, limit: int = 1000) -> Page:
        """Return up to `limit` events after a position, of streams in these slices; at most about 4 MB of payload.

        :raises SkippedPositionsError: a position is missing up to where it has looked, in whatever slice (P4).
        """
        ...

    async def find_command(self, key: CommandKey) -> StoredCommand | None:
        """What this command did the first time, from a transaction that writes (C3)."""
        ...

    async def head(self) -> Head:
        """The end of the log now."""
        ...

    async def wait(self, after: int, seconds: float) -> None:
        """Return when the head is past `after`, or after `seconds`; may return early. A hint, never the truth."""
        ...


class CommandKeyTaken(Exception):  # noqa: N818 - not a failure: the bus turns it into the first answer
    """The command took effect before. The bus compares hashes and answers as the first time."""

    def __init__(self, stored: StoredCommand) -> None:
        super().__init__("this command took effect before")
        self.stored = stored


# --- rows ---------------------------------------------------------------------------------------------------------


class Selected(NamedTuple):
    """What a SELECT gave: Python values where `columns` knows the column a value came from, else raw ones."""

    names: tuple[str, ...]
    columns: tuple[Column | None, ...]
    rows: Sequence[tuple[Any, ...]]
    tables: frozenset[str]


class SnapshotIsGone(BaseException):
    """What a session read first is not what it was: open another. No Exception, for handlers catch those."""


class ReadSession(Protocol):
    """One snapshot of the rows, on a connection that can neither write nor see the event tables (R4)."""

    async def fetch(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run one SELECT with named parameters (`:name`), Python values bound; raw database values come back.

        A value may be a `Bound`, kept as its column is. :raises AccessDeniedError: for anything but reading
        registered tables. :raises StoreUnavailableError: it ran for too long and was stopped.
        """
        ...

    async def select(self, sql: str, parameters: Mapping[str, Any]) -> Selected:
        """Run one SELECT like `fetch`, its values made Python's by the columns they came from, or are named as."""
        ...

    async def get(self, table: Table, key: tuple[Any, ...]) -> Any | None:
        """Return the row with this key, built, or None."""
        ...

    def decode(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Build rows of raw values that stand in the order of the table's columns."""
        ...

    async def freshness(self, projection: str) -> Freshness:
        """Where this projection stands in this snapshot."""
        ...


class ViewStore(Protocol):
    """Rows, and beside them how far they are: always from one transaction, so that they cannot disagree (P2)."""

    @property
    def generations(self) -> Generations:
        """The builds of its projections."""
        ...

    @property
    def leases(self) -> Leases:
        """Who works on them."""
        ...

    @property
    def alerts(self) -> Alerts:
        """What is wrong with them."""
        ...

    async def open(self, projections: Sequence[ProjectionTables], *, store_id: UUID) -> None:
        """Create what is missing. A projection that was never seen gets a first generation, which is live.

        One that changed keeps what it has: `Generations.begin` builds another beside it.
        :raises StoreNewerThanCodeError: and nothing is touched.
        :raises OtherHistoryError: these rows were made from an event store with another id.
        """
        ...

    async def close(self) -> None:
        """Let go of every connection, thread and file."""
        ...

    async def checkpoint(self, projection: str) -> Checkpoint:
        """How far this projection is on disk: the least lane of its live generation; the beginning if it has none."""
        ...

    async def places(self, projection: str, generation: int | None = None) -> Sequence[Checkpoint]:
        """How far each lane is on disk, by lane; of the live generation if none is named."""
        ...

    async def load(self, generation: int, loads: Sequence[Load]) -> Mapping[str, Sequence[Any]]:
        """Fetch rows of a generation, built, by plain table name; each row once."""
        ...

    async def commit(self, batch: ViewBatch) -> None:
        """Write all of it or nothing, to its generation.

        :raises CheckpointMovedError: somebody else was there; nothing is written.
        """
        ...

    async def parked(self, projection: str, generation: int | None = None) -> Sequence[ParkedEvent]:
        """All parked events of a generation (the live one if none is named), by position."""
        ...

    def reader(self, *, is_for_one: bool = False) -> AbstractAsyncContextManager[ReadSession]:
        """One snapshot of what is live, from the first read in it to its end. Waits up to 5 s for a connection.

        `is_for_one`: one `get` is expected to be all, and a store may hold no snapshot for another read. If another
        comes and what was read first has changed since, it raises SnapshotIsGone.
        """
        ...

    @property
    def reads_a_copy(self) -> bool:
        """Whether sessions read a copy that may be behind what was committed."""
        ...

    async def is_copied(self, seconds: float) -> bool:
        """Wait until sessions see all that is committed now: at once where they read no copy. False: not in time."""
        ...


class StoreLimits(NamedTuple):
    """What one append may be (I1)."""

    event_bytes: int = 256 * 1024
    events_per_append: int = 1000


class StoreSettings(NamedTuple):
    """Choices of the operator, given in the URL: `sqlite:///shop.db?synchronous=normal`."""

    synchronous: str = "full"  # or "normal": a power cut may then lose the last commits, a crash of the process not
    lock_timeout: float = 10.0  # seconds an append waits for another process
    answer_timeout: float = 10.0  # seconds beside those that a server may take to answer, before it counts as away
    command_window_days: int = 30  # how long a command id is remembered (C4)
    wal_limit: int = 64 * 1024 * 1024  # bytes; above it the write-ahead log is truncated
    poll_seconds: float = 0.005  # how often another process's commits are looked for
    reader: str = ""  # PostgreSQL: the role that query handlers read as, which sees rows and nothing else
    limits: StoreLimits = StoreLimits()
