"""The app: registers, wires, starts and stops everything."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, NamedTuple, Self

from diptych.app import blocking
from diptych.app.catching_up import CatchingUp
from diptych.app.known_duties import KnownDuty, known_duties
from diptych.app.module import Module, check_limit
from diptych.app.observed import observe_queries, observed_commands, observed_store, observer_of
from diptych.app.resolving import Expected, Resolving
from diptych.app.settling import settled
from diptych.app.sinks import Sinks
from diptych.app.status import Status, measure
from diptych.app.tuning import Tuning
from diptych.app.watching import Watch, Watched
from diptych.app.wiring import Wired
from diptych.errors import ConfigurationError, ProgrammingError
from diptych.events.codec import Codec
from diptych.events.upcasting import Upcasters
from diptych.messages import Command, Query
from diptych.projections.choosing import OnChange
from diptych.projections.engine import ProjectionEngine
from diptych.projections.plan import Definition
from diptych.read.bus import QueryBus, QueryMiddleware, QueryRoutes, ReadSide
from diptych.store.opening import open_stores
from diptych.store.protocols import EventStore, ViewStore
from diptych.subscriptions.duties import DutyEngine
from diptych.subscriptions.progress import Progress
from diptych.telemetry.observer import QUIET, Observer, Running
from diptych.write import guard
from diptych.write.aggregate import Aggregate
from diptych.write.bus import CommandBus, CommandMiddleware, CommandRoutes
from diptych.write.cache import AggregateCache
from diptych.write.handling import Handling
from diptych.write.queues import Queues
from diptych.write.unit_of_work import WriteSide, is_unguarded, note

Environment = Literal["development", "production"]

_TUNING = Tuning()


class _Running(NamedTuple):
    """What exists between start and stop."""

    events: EventStore
    views: ViewStore
    codec: Codec
    engine: ProjectionEngine
    definitions: tuple[Definition, ...]
    wired: Wired
    observer: Observer
    duties: DutyEngine
    known: tuple[KnownDuty, ...]
    catching_up: CatchingUp


class App(Module):
    """A service: commands change its write side, queries read the other.

    `App("sqlite:///shop.db")` keeps events in that file and rows in `shop.views.db` beside it; `App("memory:")` keeps
    nothing. `async with app:` starts and stops it; `diptych.web.install` does so inside FastAPI. In development mode
    (`mode=`, or DIPTYCH_MODE) state that changes outside `@on` is an error, and so is a blocking call in a handler.

    `views` is the URL of another PostgreSQL database for the rows. With `read_from`, the URL of a replica of the one
    that has them, queries read there; `after=` waits until it has what was written.

    `on_change`: rows that other code made are built again beside the old ones (`rebuild`), or served as they are until
    somebody types the command (`freeze`).
    """

    def __init__(
        self,
        url: str = "memory:",
        *,
        views: str | None = None,
        read_from: str | None = None,
        mode: Environment | None = None,
        on_change: OnChange = "rebuild",
        tuning: Tuning = _TUNING,
    ) -> None:
        super().__init__("app")
        if not isinstance(url, str):
            raise ConfigurationError(f"{url!r} is no URL. Give a text such as sqlite:///shop.db.")
        self.url, self.views_url, self._read_from = url, views, read_from
        self.mode: Environment = mode or _environment()
        self.on_change: OnChange = on_change
        self.tuning, self._lag_limit = tuning, check_limit(tuning.lag_limit, "Tuning")
        self._command_routes, self._query_routes = CommandRoutes(), QueryRoutes()
        self._command_routes.handlers = self.command_handlers
        self._query_routes.handlers = self.query_handlers
        self.commands = CommandBus(self._command_routes)
        self.queries = QueryBus(self._query_routes)
        self.observers: list[Observer] = []
        self._expected: list[Expected] = []
        self._running: _Running | None = None
        self._stack: AsyncExitStack | None = None
        self._users = 0

    def middleware(self, command: CommandMiddleware | None = None, *, query: QueryMiddleware | None = None) -> None:
        """Wrap every dispatch of a command, or of a query. The first one added is the outermost."""
        if command is not None:
            self._command_routes.middleware.append(command)
        if query is not None:
            self._query_routes.middleware.append(query)

    def observe(self, observer: Observer) -> None:
        """Tell an observer of commands, queries, appends and projections, from the next start on."""
        self.observers.append(observer)

    def expect_handler(self, message: type[Command[Any]] | type[Query[Any]], place: str) -> None:
        """Note that something (a route, at `place`) dispatches this message: without a handler the start fails."""
        self._expected.append((message, place))

    @property
    def is_running(self) -> bool:
        """Whether it has started and not stopped."""
        return self._running is not None

    @property
    def observer(self) -> Observer:
        """Whoever is told of its work, as one; it does nothing while the app is not running."""
        return QUIET if self._running is None else self._running.observer

    @property
    def chosen(self) -> Mapping[str, object]:
        """What it was made with, by parameter: for people, for URLs have their passwords in it."""
        given = {"url": self.url, "views": self.views_url, "read_from": self._read_from, "mode": self.mode}
        return {**given, "on_change": self.on_change, **self.tuning._asdict()}

    @property
    def wrapped_by(self) -> tuple[Sequence[CommandMiddleware], Sequence[QueryMiddleware]]:
        """The middleware of commands and of queries, the outermost first."""
        return self._command_routes.middleware, self._query_routes.middleware

    @property
    def events(self) -> EventStore:
        """The open event store. :raises ProgrammingError: the app is not running."""
        return self._started().events

    @property
    def views(self) -> ViewStore:
        """The open view store. :raises ProgrammingError: the app is not running."""
        return self._started().views

    @property
    def codec(self) -> Codec:
        """What reads and writes this app's events. :raises ProgrammingError: the app is not running."""
        return self._started().codec

    @property
    def progress(self) -> Mapping[str, Progress]:
        """How far each projection is, as this process knows it, by name."""
        return self._started().engine.progress

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """The projections as they are run."""
        return self._started().definitions

    @property
    def aggregates(self) -> Mapping[str, type[Aggregate]]:
        """The aggregates that handlers ask for, by stored name."""
        return self._started().wired.aggregates

    @property
    def lag_limits(self) -> Mapping[str, float]:
        """How many seconds each projection may be behind, by name."""
        own = {cls: limit for module in self.everything() for cls, limit in module.limited.items()}
        return {one.name: own.get(one.projection, self._lag_limit) for one in self.definitions}

    async def status(self) -> Status:
        """Say how far everything is, measured against the store now."""
        return await _measured(self._started())

    async def caught_up(self, timeout: float = 5.0) -> Sequence[str]:
        """Return when all projections have applied the log, and what they park. :raises StaleReadError: not in time."""
        return await self._started().catching_up.done(timeout)

    async def settled(self, timeout: float = 5.0) -> None:
        """Return when sagas and reactions have done all that follows of what is in the log now, and of that.

        What waits for a time, or was put aside, is left out. Of what other processes work on it knows what they write
        down, events that led to nothing every five seconds. :raises StaleReadError: not in time.
        """
        running = self._started()
        await settled(running.events, running.codec, running.duties, running.known, timeout)

    async def __aenter__(self) -> Self:
        self._users += 1
        if self._users == 1:
            try:
                self._stack = await self._start()
            except BaseException:
                self._users -= 1
                raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._users -= 1
        if self._users == 0 and self._stack is not None:
            stack, self._stack = self._stack, None
            await stack.aclose()

    @asynccontextmanager
    async def lifespan(self, _: Any = None) -> AsyncIterator[None]:
        """Start and stop with an ASGI application: `FastAPI(lifespan=app.lifespan)`. `install` does it for you."""
        async with self:
            yield

    async def _start(self) -> AsyncExitStack:
        async with AsyncExitStack() as stack:
            codec = Codec(_upcasters(self.everything()))
            wired, definitions, duties = await self._resolving().resolve(codec, stack)
            stores = open_stores(self.url, views=self.views_url, read_from=self._read_from)
            stack.push_async_callback(stores.events.close)  # first, for a start that fails half-way leaves nothing
            await stores.events.open()
            _refuse_inline(definitions if self.views_url else ())
            apart = {mode: [one.tables for one in definitions if one.mode == mode] for mode in ("async", "inline")}
            beside = [*apart["inline"], *[duty.kept for duty in duties.all]]
            await stores.events.inline.open(beside, store_id=stores.events.store_id)
            stack.push_async_callback(stores.views.close)
            await stores.views.open(apart["async"], store_id=stores.events.store_id)
            observer = observer_of(self.observers)
            rules = self.tuning.rules(self.on_change, is_development=self.mode == "development")
            engine = ProjectionEngine(stores.events, stores.views, codec, definitions, rules, observer)
            stack.push_async_callback(engine.stop)
            await engine.start()
            of_duties = DutyEngine(stores.events, engine.reader, duties.clock, self.tuning.pace, duties.all)
            made = (stores.events, stores.views, codec, engine, definitions, wired, observer, of_duties)
            self._running = _Running(*made, known_duties(self.everything(), []), CatchingUp(engine))
            stack.callback(self._close)
            if self.mode == "development":
                _watch_handlers(wired, stack)
            _open(self, (self._command_routes, self._query_routes), self._running, stack)
            watch = _watch(self, self._running)
            stack.push_async_callback(watch.stop)
            watch.start()
            stack.push_async_callback(self._running.duties.stop)
            await self._running.duties.start(is_worker=self.tuning.runs_projections)
            return stack.pop_all()

    def _resolving(self) -> Resolving:
        buses, is_worker = (self.commands, self.queries), self.tuning.runs_projections
        return Resolving(self.everything(), self._expected, buses, self._command_routes, is_worker)

    def _close(self) -> None:
        self._command_routes.close()
        self._query_routes.close()
        self._running = None

    def _started(self) -> _Running:
        if self._running is None:
            raise ProgrammingError("The app is not running. Write `async with app:` around this.")
        return self._running


async def _measured(running: _Running) -> Status:
    return await measure(running.events, running.engine, running.duties, running.known)


def _open(app: App, routes: tuple[CommandRoutes, QueryRoutes], running: _Running, stack: AsyncExitStack) -> None:
    """Have the buses answer."""
    events, engine, wired, observer = running.events, running.engine, running.wired, running.observer
    outermost: Sequence[CommandMiddleware] = ()
    if observer is not QUIET:
        events = observed_store(events, observer, app.url)
        outermost = (observed_commands(observer, wired.commands),)
        stack.callback(observe_queries(observer, app.queries, wired.queries))
        stack.enter_context(observer.running(Running(app.status, asyncio.get_running_loop())))
    is_guarded = app.mode == "development"
    side = WriteSide(events, running.codec, AggregateCache(app.tuning.cached_aggregates), Queues(), is_guarded)
    handling = Handling(side, engine.inline, engine.appended, app.tuning.retry)
    routes[0].open(handling, wired.commands, outermost)
    routes[1].open(ReadSide(running.views, engine.progress, engine.look, engine.reader.id_at), wired.queries)


def _watch(app: App, running: _Running) -> Watch:
    sinks = Sinks(handler for module in app.everything() for handler in module.alert_handlers)
    return Watch(
        Watched(app.status, app.lag_limits, running.engine.worker, app.tuning.lag_limit, running.events.inline),
        running.views,
        sinks,
        app.tuning.rounds,
    )


def _watch_handlers(wired: Wired, stack: AsyncExitStack) -> None:
    """Have what handlers may not do be an error, until the stack unwinds."""
    guard.install(is_unguarded, note)
    stack.callback(guard.uninstall)
    blocking.install()
    stack.callback(blocking.uninstall)
    for command, call in wired.commands.items():
        wired.commands[command] = blocking.watched(call, command)
    for query, reading in wired.queries.items():
        reading.call = blocking.watched(reading.call, query)


def _environment() -> Environment:
    said = os.environ.get("DIPTYCH_MODE", "production")
    if said == "development":
        return "development"
    if said == "production":
        return "production"
    raise ConfigurationError(f"DIPTYCH_MODE is {said!r}. Set it to development or production.")


def _upcasters(modules: Iterable[Module]) -> Upcasters:
    found = Upcasters()
    for module in modules:
        found.update(module.upcasters)
    return found


def _refuse_inline(definitions: Sequence[Definition]) -> None:
    """:raises ConfigurationError: rows of these would be beside the events, where queries do not look."""
    inline = [one for one in definitions if one.mode == "inline"]
    if inline:
        raise ConfigurationError(
            [
                f"{one.where}: {one.name} is inline, so its rows are with the events; with views= queries read "
                "another database. Make it async, or leave views= out."
                for one in inline
            ]
        )
