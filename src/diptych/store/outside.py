"""The log of a running or stopped service as somebody from outside sees it: to look something up, and to audit it.

Rule: nothing is started, created, migrated or changed, on any backend.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from diptych.events.recorded import StoredEvent
from diptych.store.protocols import Head, Page
from diptych.stream import StreamName


class KindCount(NamedTuple):
    """How many events of a stored name and schema version there are, and where the first and the last of them are."""

    type: str
    schema_version: int
    events: int
    first: int
    last: int


class CommandTrace(NamedTuple):
    """A command that took effect, as the store remembers it. `position` is of its last event, or of the head then."""

    type: str
    command_id: UUID
    tenant: str
    user_id: str
    position: int
    recorded_at: int


class Sought(NamedTuple):
    """By what events are looked for; what is left out does not matter. Texts are compared as they are stored.

    A category is of any case. `beside` are texts that the metadata have, all of them, anywhere.
    """

    types: Sequence[str] = ()
    tenant: str | None = None
    category: str | None = None
    stream_id: UUID | None = None
    beside: Sequence[str] = ()
    payload: str = ""


class OutsideLog(Protocol):
    """What the verbs that look things up ask. Every method raises `StoreError` when the store cannot be read."""

    place: str

    async def head(self) -> Head:
        """The end of the log now."""
        ...

    async def read_stream(self, stream: StreamName) -> Sequence[StoredEvent]:
        """Return the events of a stream in order; none if it is not there. :raises CorruptedEventError:"""
        ...

    async def read_log(self, *, after: int, limit: int) -> Page:
        """Return up to `limit` events after a position. :raises CorruptedEventError: :raises SkippedPositionsError:"""
        ...

    async def streams_of(self, id: UUID) -> Sequence[StreamName]:
        """Return all streams with this id, of any tenant and category."""
        ...

    async def commands_of(self, id: UUID) -> Sequence[CommandTrace]:
        """Return the commands that took effect under this id and are still remembered."""
        ...

    async def positions(self, sought: Sought, *, after: int, through: int) -> Sequence[int]:
        """Return where such events are in a piece of the log, the newest first. It reads all of the piece."""
        ...

    async def kinds(self, *, after: int = 0) -> Sequence[KindCount]:
        """Count the events after a position by stored name and schema version. It reads all of them."""
        ...


# --- what an audit reads: rows as they lie there, joined with what should fit them -----------------------------------


class EventFacts(NamedTuple):
    """An event as it lies in the log. `stream` and `type` are None when their rows are lost; `crc` is of it now."""

    position: int
    version: int
    recorded_at: int
    slice: int
    checksum: int
    crc: int
    schema_version: int
    type: str | None
    stream: StreamName | None
    has_same_tenant: bool  # as its stream


class VersionFacts(NamedTuple):
    """An event in its place in the index by stream. `is_chained`: its chained checksum goes on from the one before."""

    stream: int
    version: int
    position: int
    chain: int | None = None
    is_chained: bool = True


class StreamFacts(NamedTuple):
    """A row of `streams` beside what its events say; `last` and `first` are None when it has none."""

    id: int
    name: str
    version: int
    last: int | None  # the highest version among its events
    first: int | None  # the position of its first event
    has_last_chain: bool = True


class CommandFacts(NamedTuple):
    """A remembered command. `lost`: how many of the events or versions that it names are not in the log."""

    id: int
    name: str
    position: int
    head: int  # of the log, in the snapshot that this was read in
    is_there: bool  # the event that it names is at that position
    lost: int


class MarkFacts(NamedTuple):
    """Where a lane stands by its checkpoint, and the event that is there."""

    name: str
    position: int
    event_id: bytes
    there: bytes | None


def lane_name(projection: str, generation: int, lane: int) -> str:
    """Return what a finding calls a lane."""
    return f"{projection} (generation {generation}, lane {lane})"


class AuditSource(Protocol):
    """What an audit asks, page by page: no answer is larger than a few megabytes, whatever the log is."""

    place: str

    async def head(self) -> Head:
        """The end of the log now."""
        ...

    async def events(self, after: int, through: int) -> Sequence[EventFacts]:
        """Return the next events by position; none at the end."""
        ...

    async def by_stream(self, after: VersionFacts | None, through: int) -> Sequence[VersionFacts]:
        """Return the next events by stream and version, of those up to a position; none at the end."""
        ...

    async def streams(self, after: int) -> Sequence[StreamFacts]:
        """Return the next streams by their number, each judged in one snapshot; none at the end."""
        ...

    async def commands(self, after: int) -> Sequence[CommandFacts]:
        """Return the next remembered commands, each judged in one snapshot; none at the end."""
        ...

    async def marks(self) -> Sequence[MarkFacts]:
        """Return the checkpoints of all lanes whose rows are beside the log, of every generation."""
        ...

    async def missing_guards(self) -> Sequence[str]:
        """Return the names of those triggers that hold the log append-only and are missing, changed or off."""
        ...

    async def event_id(self, position: int) -> bytes | None:
        """Return the id of the event at a position; None if there is none."""
        ...
