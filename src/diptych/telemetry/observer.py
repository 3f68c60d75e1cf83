"""What an app tells of its work while it does it, to whoever observes it.

Rule: nothing here knows a vendor. What may become a label (`name`, `command`, `outcome`) has few values: a type, a
projection, a store, and never an id.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

from diptych.errors import (
    CheckpointMovedError,
    CommandIdReusedError,
    ConflictError,
    DomainError,
    InvalidInputError,
    NotFoundError,
    StaleReadError,
    UnknownOutcomeError,
)
from diptych.events.recorded import StoredEvent
from diptych.messages import Envelope

Scope: TypeAlias = AbstractContextManager[Any]
LeaseChange: TypeAlias = Literal["taken", "released", "lost"]

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Where the buckets of histograms end, of durations and of sizes."""
PATIENCE: Final = 5.0  # seconds for one reading of where everything stands; after that it counts as one that failed

_OUTCOMES: Final[Mapping[type[BaseException], str]] = {
    DomainError: "rejected",
    InvalidInputError: "rejected",
    NotFoundError: "rejected",
    CommandIdReusedError: "rejected",
    ConflictError: "conflict",
    CheckpointMovedError: "conflict",
    StaleReadError: "stale",
    UnknownOutcomeError: "unknown",
    asyncio.CancelledError: "unknown",  # who gave up waiting does not know what came of it
}


@dataclass(slots=True)
class Work:
    """Something that is being done. `outcome`, `seconds` and `error` are set when it is over."""

    name: str  # the type of a command or query, a projection, the kind of a store
    code: str = ""  # the function that does it, with its module
    outcome: str = ""
    seconds: float = 0.0
    error: BaseException | None = None


@dataclass(slots=True)
class Handled(Work):
    """A command, from its dispatch to its receipt, all attempts together.

    Outcomes: committed, duplicate (it took effect before), rejected, conflict, failed, unknown.
    """

    envelope: Envelope = field(default_factory=Envelope)


@dataclass(slots=True)
class Appending(Work):
    """One append of a command to the store that `name` says. A command that met a conflict makes several.

    Outcomes: committed, duplicate, rejected, conflict, failed, unknown. What an observer writes to `traceparent` before
    the append is stored with its events.
    """

    command: str = ""
    events: int = 0
    together: int = 0  # how many appends its transaction judged, itself included
    traceparent: str | None = None


@dataclass(slots=True)
class Batch(Work):
    """One step of the projection that `name` says: a page of the log from `start` on, its retries included.

    Outcomes: applied, conflict (somebody else moved its checkpoint), failed, unknown.
    """

    rows: Sequence[StoredEvent] = ()
    start: int = 0
    takes: frozenset[str] = frozenset()

    def concerned(self) -> Iterator[StoredEvent]:
        """Give the events that the projection acts on."""
        return (row for row in self.rows[self.start :] if row.type in self.takes)

    @property
    def is_noteworthy(self) -> bool:
        """Whether it was more than passing over events of others."""
        return self.outcome != "applied" or next(self.concerned(), None) is not None


@dataclass(slots=True)
class Request(Work):
    """An HTTP request, `name` being its method. `route` and `status` are known when it is over."""

    path: str = ""
    scheme: str = "http"
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    route: str | None = None
    status: int | None = None


class Place(Protocol):
    """Where a projection stands; `ProjectionStatus` of the app is one."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def position(self) -> int: ...
    @property
    def lag_events(self) -> int: ...
    @property
    def lag_seconds(self) -> float: ...
    @property
    def parked(self) -> int: ...
    @property
    def idle_seconds(self) -> float: ...


class DutyPlace(Protocol):
    """Where a saga or a reaction stands; `DutyStatus` of the app is one."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def lag_seconds(self) -> float: ...
    @property
    def waiting(self) -> int: ...
    @property
    def retried(self) -> int: ...
    @property
    def parked(self) -> int: ...
    @property
    def stuck(self) -> int: ...
    @property
    def late_seconds(self) -> float: ...
    @property
    def undone_seconds(self) -> float: ...


class Standing(Protocol):
    """Where everything stands; the `Status` of the app is one."""

    @property
    def head(self) -> int: ...
    @property
    def projections(self) -> Sequence[Place]: ...
    @property
    def duties(self) -> Sequence[DutyPlace]: ...


Measure: TypeAlias = Callable[[], Awaitable[Standing]]
"""Reads from the store where everything stands now. :raises DiptychError: it cannot be read, or the app is stopped."""


@dataclass(frozen=True, slots=True)
class Running:
    """An app that runs, on `loop`: `measure` is awaited there."""

    measure: Measure
    loop: asyncio.AbstractEventLoop


class Observer(Protocol):
    """Is told of an app's work, on its event loop. It may not raise.

    All but the last return what is entered before the work and left after it, the work's outcome being known by then.
    Inherit from `Quiet` and write those that you want; `app.observe(observer)` makes an app tell.
    """

    def running(self, app: Running) -> Scope:
        """Watch an app from its start to its stop."""
        ...

    def request(self, request: Request) -> Scope:
        """Watch an HTTP request."""
        ...

    def command(self, command: Handled) -> Scope:
        """Watch a command."""
        ...

    def query(self, query: Work) -> Scope:
        """Watch a query, its waiting for freshness included. Outcomes: answered, stale, rejected, failed, unknown."""
        ...

    def append(self, append: Appending) -> Scope:
        """Watch an append."""
        ...

    def batch(self, batch: Batch) -> Scope:
        """Watch a projection take a piece of the log."""
        ...

    def lease_changed(self, projection: str, lane: int, change: LeaseChange) -> None:
        """Hear that this process took, released or lost the lease of a lane."""
        ...


class Quiet:
    """An observer that does nothing."""

    def running(self, app: Running) -> Scope:
        """Do nothing."""
        return nullcontext()

    def request(self, request: Request) -> Scope:
        """Do nothing."""
        return nullcontext()

    def command(self, command: Handled) -> Scope:
        """Do nothing."""
        return nullcontext()

    def query(self, query: Work) -> Scope:
        """Do nothing."""
        return nullcontext()

    def append(self, append: Appending) -> Scope:
        """Do nothing."""
        return nullcontext()

    def batch(self, batch: Batch) -> Scope:
        """Do nothing."""
        return nullcontext()

    def lease_changed(self, projection: str, lane: int, change: LeaseChange) -> None:
        """Do nothing."""


QUIET: Final[Observer] = Quiet()


class Several:
    """Tells several observers, the first one outermost."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def running(self, app: Running) -> Scope:
        """Watch with all."""
        return _nested([each.running(app) for each in self._observers])

    def request(self, request: Request) -> Scope:
        """Watch with all."""
        return _nested([each.request(request) for each in self._observers])

    def command(self, command: Handled) -> Scope:
        """Watch with all."""
        return _nested([each.command(command) for each in self._observers])

    def query(self, query: Work) -> Scope:
        """Watch with all."""
        return _nested([each.query(query) for each in self._observers])

    def append(self, append: Appending) -> Scope:
        """Watch with all."""
        return _nested([each.append(append) for each in self._observers])

    def batch(self, batch: Batch) -> Scope:
        """Watch with all."""
        return _nested([each.batch(batch) for each in self._observers])

    def lease_changed(self, projection: str, lane: int, change: LeaseChange) -> None:
        """Tell all."""
        for each in self._observers:
            each.lease_changed(projection, lane, change)


def one_of(observers: Sequence[Observer]) -> Observer:
    """Return one observer that stands for all of these; `QUIET` itself for none."""
    if len(observers) < 2:
        return observers[0] if observers else QUIET
    return Several(observers)


W = TypeVar("W", bound=Work)


@contextmanager
def watched(watch: Callable[[W], Scope], work: W) -> Iterator[W]:
    """Do something watched: `with watched(observer.query, Work("GetOrder")) as work:`. The body sets the outcome.

    An error that leaves the body before it did is the outcome.
    """
    began = perf_counter()
    with watch(work):
        try:
            yield work
        except BaseException as error:
            work.error = error
            work.outcome = work.outcome or outcome_of(error)
            raise
        finally:
            work.seconds = perf_counter() - began


def outcome_of(error: BaseException) -> str:
    """Say in one word of a few what an error means: rejected, conflict, stale, unknown, or else failed."""
    return next((_OUTCOMES[cls] for cls in type(error).__mro__ if cls in _OUTCOMES), "failed")


@contextmanager
def _nested(scopes: Sequence[Scope]) -> Iterator[None]:
    with ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(scope)
        yield
