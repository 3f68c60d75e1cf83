"""What a saga, or a reaction, is to the loop that works on its lanes.

Rule: a duty decides and performs; it never reads the log, and what it writes goes through the turn.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from diptych.clock import Clock, SystemClock
from diptych.errors import AccessDeniedError, DomainError, InvalidInputError, NotFoundError
from diptych.events.recorded import RecordedEvent, to_microseconds
from diptych.messages import Command
from diptych.store.batches import Load, ProjectionTables, ViewBatch
from diptych.store.leases import Held, Request
from diptych.store.protocols import EventStore
from diptych.store.tables import Table
from diptych.subscriptions.care import Ward
from diptych.subscriptions.reading import LogReader, Pace
from diptych.subscriptions.tasks import Task
from diptych.subscriptions.turn import Turn

REJECTIONS: Final = (DomainError, NotFoundError, InvalidInputError, AccessDeniedError)
"""What a command is refused with; anything else is a fault, and tried again."""

LANES: Final = 4
"""Of every duty, for ever: a lane is never split or merged."""


class Finished(NamedTuple):
    """A task that was performed: with what it returned, or what it raised."""

    task: Task
    result: Any = None
    error: Exception | None = None


class Taken(NamedTuple):
    """An event for a duty, under the key that keeps its order. `task` is set when it was put aside before."""

    key: str
    recorded: RecordedEvent
    task: Task | None = None


class Given(NamedTuple):
    """What a turn has to take in, in this order.

    `released` are keys of which nothing is put aside any more; `awaited` those of which events are in hand, still to
    come: what is new comes after them. `failed` are the tasks that failed, by key, where some are put aside.
    """

    finished: Sequence[Finished]
    timers: Sequence[Task] = ()
    events: Sequence[Taken] = ()
    released: Collection[str] = ()
    awaited: Collection[str] = ()
    failed: Mapping[str, Collection[UUID]] = {}


class Sending(NamedTuple):
    """How a command is sent: under which id, as part of what, because of what, and what commits with it."""

    command_id: UUID
    correlation_id: UUID | None
    cause: UUID
    tenant: str
    beside: ViewBatch | None


Dispatch = Callable[[Command[Any], Sending], Awaitable[Any]]


def kept_by(name: str, *tables: Table, lanes: int = LANES) -> ProjectionTables:
    """Return what a duty keeps: rows that are owed, and cannot be built again of the log."""
    return ProjectionTables(name, tables, lanes=lanes, is_owed=True)


class SkippedError(Exception):
    """What an operator's word to leave a task out looks like to its duty."""


LoadRows = Callable[[Sequence[Load]], Awaitable[Mapping[str, Sequence[Any]]]]


class Work(Protocol):
    """What a process does with one lane, from a claim to the next."""

    lane: int
    is_paused: bool

    @property
    def error(self) -> str | None:
        """Why it makes no progress, though it is tried again."""
        ...

    @property
    def position(self) -> int:
        """How far the log is taken in."""
        ...

    async def run(self) -> None:
        """Work until cancelled. :raises CheckpointMovedError: another has the lane. :raises StoreError:"""
        ...

    async def end(self) -> None:
        """Finish what is being done, in a few seconds, and write it down."""
        ...

    def drop(self) -> None:
        """Stop what is still being done, at once."""
        ...

    def wake(self) -> None:
        """Look at once."""
        ...

    def is_asked(self, requests: Sequence[Request]) -> None:
        """Learn what is asked of the lane's owner."""
        ...

    def is_settled(self, head: int) -> bool:
        """Whether all that is in the log so far is taken in, and what followed is done."""
        ...


class Duty(Protocol):
    """A saga, a reaction, or a publication. One object serves all lanes of a process."""

    @property
    def name(self) -> str:
        """Its stored name, for ever."""
        ...

    @property
    def kept(self) -> ProjectionTables:
        """The rows that it keeps beside the log, its tasks among them."""
        ...

    @property
    def tasks(self) -> Table:
        """The table of its tasks."""
        ...

    @property
    def begins_at_head(self) -> bool:
        """Whether what is in the log when it is first started is none of its business."""
        ...

    def work(self, desk: "Desk", held: Held) -> Work:
        """Return what works on a lane that was claimed."""
        ...


class TaskDuty(Duty, Protocol):
    """Takes events in, and does what follows of them.

    An event that it cannot take is put aside with `turn.park`, and all of its key that follows is put aside, too.
    """

    @property
    def takes(self) -> frozenset[str]:
        """The stored names of the events it takes."""
        ...

    def key_of(self, recorded: RecordedEvent) -> str | None:
        """Return the key that keeps an event's order; None if it is not for this duty."""
        ...

    async def take(self, given: Given, turn: Turn, load: LoadRows) -> None:
        """Take in what there is. Nothing of it took effect if the turn does not commit; then it comes again."""
        ...

    async def perform(self, task: Task, recorded: RecordedEvent | None, beside: ViewBatch) -> Any:
        """Do what is to be done outside of the turn, under the task's id; `recorded` if the task is an event.

        A command's append writes `beside`, which says that the task was taken, and rests on that it was not before.
        """
        ...


class Desk(NamedTuple):
    """What the lanes of a duty work with."""

    store: EventStore
    reader: LogReader
    clock: Clock
    pace: Pace
    generation: int
    ward: Ward
    patience: float = 2.0  # seconds that what is being performed gets to end, when the lane is let go

    @property
    def is_real_time(self) -> bool:
        """Whether its clock is the machine's, by which events are recorded too."""
        return isinstance(self.clock, SystemClock)

    def now(self) -> int:
        """The clock's time, in microseconds since 1970."""
        return to_microseconds(self.clock.now())

    def turn(self, lane: int, tasks: Table) -> Turn:
        """Begin a turn of a lane."""
        return Turn(lane, self.now(), tasks, is_real=self.is_real_time)
