"""The query bus: one handler per query, which sees read models and nothing else."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import CoroutineType
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from diptych.errors import (
    AccessDeniedError,
    DataError,
    DomainError,
    NoHandlerFoundError,
    NotFoundError,
    ProgrammingError,
    StaleReadError,
)
from diptych.events.recorded import from_microseconds
from diptych.handlers import Handlers, local_names, not_awaited, not_started
from diptych.messages import Query, Receipt, not_a
from diptych.read.freshness import NOT_ASKED, NOTHING_KNOWN, Fresh, fresh, known_of
from diptych.read.read_models import ReadModels
from diptych.read.waiting import Waited, Wanted, wait
from diptych.store.protocols import SnapshotIsGone, ViewStore
from diptych.stream import token
from diptych.subscriptions.progress import Progress

R = TypeVar("R")
Q_contra = TypeVar("Q_contra", bound=Query[Any], contravariant=True)
R_co = TypeVar("R_co", covariant=True)

Ask = Callable[[Query[Any]], Awaitable[Any]]
QueryMiddleware = Callable[[Ask], Ask]
"""Wraps every query, as CommandMiddleware wraps commands."""


@runtime_checkable
class QueryHandler(Protocol[Q_contra, R_co]):
    """The class-based spelling of a handler: register an object of it with `queries.register`."""

    async def handle(self, query: Q_contra) -> R_co:
        """Answer from read models."""
        ...


@dataclass(slots=True)
class Answer(Generic[R]):
    """A query's result and how old it is."""

    value: R
    fresh: Fresh
    reason: str | None
    """Why it is stale: `behind`, `parked` (a failing event must be mended), `stopped`, `paused` or `frozen`."""

    @property
    def is_stale(self) -> bool:
        """Whether it is not what was asked for; `reason` says why."""
        return self.reason is not None

    @property
    def as_of_position(self) -> int:
        """Everything up to this position is in the answer; of isolated projections, later things may be."""
        return self.fresh.position

    @property
    def as_of_time(self) -> datetime | None:
        """When the event at that position was recorded; None when there is none."""
        return from_microseconds(self.fresh.recorded_at) if self.fresh.recorded_at else None

    @property
    def age(self) -> float:
        """Seconds since the oldest event was recorded that is not in the answer; 0.0 when there is none."""
        return self.fresh.age

    @property
    def token(self) -> str:
        """The place in the log, as an opaque string: give it as `after=` and see no older answer (R2)."""
        return token(self.fresh.position, self.fresh.event_id)


class Reading:
    """A query handler, ready to be called, and the tables it was seen to read. `parameter` gets its ReadModels."""

    __slots__ = ("call", "parameter", "projections", "reads_one", "tables")

    def __init__(self, call: Callable[..., Awaitable[Any]], parameter: str | None) -> None:
        self.call, self.parameter = call, parameter
        self.tables: set[str] = set()
        self.reads_one = True  # a single row, as far as was seen
        self.projections: Sequence[Progress] = ()  # those that keep the tables


class ReadSide:
    """What all queries of an app share, once it has started."""

    def __init__(
        self,
        views: ViewStore,
        progress: Mapping[str, Progress],
        look: Callable[[], Awaitable[None]],
        id_at: Callable[[int], Awaitable[bytes]],
    ) -> None:
        """`look` has the progress learn at once which generations are read; `id_at` says which event is where."""
        self.views = views
        self.progress = progress
        self.look = look
        self.id_at = id_at
        self.projection_of = {table: name for name, one in progress.items() for table in one.tables}

    def learn(self, reading: Reading, tables: set[str]) -> Sequence[Progress]:
        """Return the projections that keep these tables; remember tables that the handler was not seen to read yet."""
        if tables == reading.tables:
            return reading.projections
        found = self.keeping(tables)
        if not tables <= reading.tables:
            reading.tables |= tables
            reading.projections = self.keeping(reading.tables)
        return found

    def refuse_unreadable(self, projections: Iterable[Progress]) -> None:
        """:raises StaleReadError: the tables of one of them do not look as this code says."""
        names = [one.name for one in projections if not one.is_readable]
        if names:
            raise StaleReadError(names, "frozen", 0.0)

    def keeping(self, tables: set[str]) -> Sequence[Progress]:
        """Return the projections that keep these tables."""
        names = {self.projection_of[table] for table in tables if table in self.projection_of}
        return [self.progress[name] for name in sorted(names)]


class QueryRoutes:
    """What the query bus knows: handlers as registered, and their calls once the app has started."""

    def __init__(self) -> None:
        self.handlers = Handlers()
        self.middleware: list[QueryMiddleware] = []
        self.calls: dict[type, Reading] = {}
        self.side: ReadSide | None = None

    def open(self, side: ReadSide, calls: Mapping[type, Reading]) -> None:
        """Start: from now on queries are answered."""
        self.side, self.calls = side, dict(calls)

    def close(self) -> None:
        """Stop: from now on queries are refused."""
        self.side, self.calls = None, {}

    def reading(self, query: Query[Any]) -> Reading:
        """Return who answers. :raises NoHandlerFoundError: nobody does."""
        found = self.calls.get(type(query))
        if found is not None:
            return found
        if not isinstance(query, Query):
            raise not_a(Query, query)
        if self.side is None:
            raise not_started(type(query))
        raise NoHandlerFoundError(type(query).__name__)

    async def ask(self, query: Query[Any], call: Ask) -> Any:
        """Run a query through the middleware."""
        for wrap in reversed(self.middleware):
            call = wrap(call)
        return await call(query)


class QueryBus:
    """Sends a query to its one handler. Its read models are of one snapshot, on a connection that cannot write."""

    def __init__(self, routes: QueryRoutes) -> None:
        self._routes = routes

    def register(self, query: type[Query[R]], handler: QueryHandler[Any, R] | Callable[..., Awaitable[R]]) -> None:
        """Say who answers a query: an object with `async handle(query)`, or an async function.

        A second handler is a fault like all others of the wiring: listed at the start.
        """
        self._routes.handlers.add(query, handler, local_names())

    async def dispatch(self, query: Query[R], *, after: Receipt[Any] | str | None = None, within: float = 1.0) -> R:
        """Answer a query. With `after` (a receipt or a token) the answer has seen that command (R1).

        :raises StaleReadError: it could not, `within` so many seconds.
        :raises OtherHistoryError: the log has another event at that place, after a backup was restored.
        :raises NoHandlerFoundError: nobody answers it.
        """
        reading = self._routes.reading(query)
        if after is not None:
            value, _, waited = await self._fresh(reading, query, Wanted.of(after), within)
            waited.or_raise()
            result: R = value
            return result
        if reading.parameter is None and not self._routes.middleware:
            direct: R = await reading.call(query)
            if type(direct) is CoroutineType:
                raise not_awaited(type(query), direct)
            return direct
        result, _ = await self._run(reading, query, with_freshness=False)
        return result

    async def answer(
        self, query: Query[R], *, after: Receipt[Any] | str | None = None, within: float = 1.0
    ) -> Answer[R]:
        """Answer a query and say how old the answer is; a stale one is an answer too, with its reason.

        :raises OtherHistoryError: the log has another event at the place of `after`, after a backup was restored.
        """
        reading = self._routes.reading(query)
        if after is None:
            value, found = await self._run(reading, query, with_freshness=True)
            return Answer(_or_raise(value), found, found.reason)
        value, found, waited = await self._fresh(reading, query, Wanted.of(after), within)
        return Answer(value, found, waited.reason or found.reason)

    async def _fresh(
        self, reading: Reading, query: Query[Any], wanted: Wanted, within: float
    ) -> tuple[Any, Fresh, Waited]:
        """Wait before the snapshot opens; once more if the handler then read a table that nobody had waited for.

        A row that is not there is news only when the read was fresh: a stale one says that it is stale.
        """
        side = self._routes.side
        assert side is not None
        deadline = time.monotonic() + within
        while True:
            known = set(reading.tables)
            waited = await wait(wanted, reading.projections, side.views, max(0.0, deadline - time.monotonic()))
            if waited.reason is None and not wanted.is_known_to(reading.projections):
                await wanted.check(reading.projections, side.id_at)
            value, found = await self._run(reading, query, with_freshness=True)
            if found.is_of_another and waited.reason is None:  # what was waited for is not what was read
                await side.look()
                if time.monotonic() < deadline:
                    continue
                waited = Waited("behind", tuple(one.name for one in reading.projections), within)
            if reading.tables <= known or waited.reason is not None:
                if isinstance(value, _Refused) and waited.reason is not None:
                    raise StaleReadError(waited.projections, waited.reason, waited.seconds) from value.error
                return _or_raise(value), found, waited

    async def _run(self, reading: Reading, query: Query[Any], *, with_freshness: bool) -> tuple[Any, Fresh]:
        side = self._routes.side
        assert side is not None
        knows = with_freshness and not side.views.reads_a_copy  # of a copy only its own snapshot says how far it is
        before = [known_of(one) if knows else NOTHING_KNOWN for one in reading.projections] if with_freshness else ()
        models = ReadModels(side.views, is_for_one=reading.reads_one)
        call = reading.call if reading.parameter is None else partial(_of_one_snapshot, reading, models)
        kept = reading.projections
        side.refuse_unreadable(kept)
        try:
            try:
                value = await (self._routes.ask(query, call) if self._routes.middleware else call(query))
                if type(value) is CoroutineType:
                    raise not_awaited(type(query), value)
            except (NotFoundError, DomainError) as error:
                if not with_freshness:
                    raise
                value = _Refused(error)
            except (ProgrammingError, DataError, AccessDeniedError):  # as another shape makes it
                side.refuse_unreadable(side.keeping(models.tables) if models.tables else side.progress.values())
                raise
            finally:
                read = side.learn(reading, models.tables)
            if read is not kept:
                side.refuse_unreadable(read)
            found = await fresh(models, read, dict(zip(kept, before, strict=True))) if with_freshness else NOT_ASKED
        finally:
            reading.reads_one = reading.reads_one and models.is_for_one
            await models.close()
        return value, found


@dataclass(frozen=True, slots=True)
class _Refused:
    """What a handler raised about what it read: as fresh or stale as any other answer."""

    error: Exception


def _or_raise(value: Any) -> Any:
    if isinstance(value, _Refused):
        raise value.error
    return value


async def _of_one_snapshot(reading: Reading, models: ReadModels, query: Query[Any]) -> Any:
    """Call a handler; once more if it reads more than was expected of it, and the first has changed meanwhile."""
    assert reading.parameter is not None
    try:
        return await reading.call(query, **{reading.parameter: models})
    except BaseException as error:
        is_in_group = isinstance(error, BaseExceptionGroup) and error.subgroup(SnapshotIsGone) is not None
        if not (is_in_group or isinstance(error, SnapshotIsGone)):
            raise
        await models.close()
        return await reading.call(query, **{reading.parameter: models})
