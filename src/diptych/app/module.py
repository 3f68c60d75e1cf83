"""Groups of handlers and projections, as APIRouter groups routes."""

from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from math import inf
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, get_args, overload

from typing_extensions import TypeForm

from diptych.app.sinks import AlertHandler
from diptych.errors import ConfigurationError
from diptych.events.upcasting import Upcaster, Upcasters
from diptych.handlers import Handlers, is_async, local_names, where
from diptych.messages import Command, Query
from diptych.projections.projection import Projection
from diptych.reactions.inbox import Inbox
from diptych.reactions.publication import Publication, Published
from diptych.reactions.publisher import Publisher
from diptych.reactions.reaction import ATTEMPTS, TIMEOUT, Begins, Declared, Key
from diptych.sagas.saga import Saga

T = TypeVar("T")
C = TypeVar("C", bound=Command[Any])
Q = TypeVar("Q", bound=Query[Any])
P = ParamSpec("P")
U = TypeVar("U", bound=Upcaster)
V = TypeVar("V", bound=type[Projection[Any]])
S = TypeVar("S", bound=Saga)
R = TypeVar("R", bound=Callable[..., Coroutine[Any, Any, Any]])

AlertSink = TypeVar("AlertSink", bound=AlertHandler)

Mode = Literal["async", "inline"]


class Module:
    """Handlers, projections and what they need, under one name: `orders = Module("orders")`, `app.include(orders)`.

    Included by reference: what is added later, before the start, counts too.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.command_handlers = Handlers()
        self.query_handlers = Handlers()
        self.projected: dict[type[Projection[Any]], Mode] = {}
        self.limited: dict[type[Projection[Any]], float] = {}
        self.sagas: list[type[Saga]] = []
        self.reactions: list[Declared] = []
        self.published: list[Published] = []
        self.inboxes: list[Inbox] = []
        self.alert_handlers: list[AlertHandler] = []
        self.provided: list[tuple[Any, Any, Mapping[str, Any]]] = []
        self.upcasters = Upcasters()
        self.included: list[Module] = []

    def command_handler(
        self, handler: Callable[Concatenate[C, P], Coroutine[Any, Any, T]]
    ) -> Callable[Concatenate[C, P], Coroutine[Any, Any, T]]:
        """Register an async function whose first parameter is the command it handles."""
        _refuse_message(handler, "command_handler")
        self.command_handlers.decorate(handler, local_names())
        return handler

    def query_handler(
        self, handler: Callable[Concatenate[Q, P], Coroutine[Any, Any, T]]
    ) -> Callable[Concatenate[Q, P], Coroutine[Any, Any, T]]:
        """Register an async function whose first parameter is the query it answers."""
        _refuse_message(handler, "query_handler")
        self.query_handlers.decorate(handler, local_names())
        return handler

    @overload
    def project(self, projection: V, /, *, mode: Mode = "async", lag_limit: float | None = None) -> V: ...
    @overload
    def project(self, /, *, mode: Mode = "async", lag_limit: float | None = None) -> Callable[[V], V]: ...
    def project(self, projection: Any = None, /, *, mode: Mode = "async", lag_limit: float | None = None) -> Any:
        """Keep a projection's read models: behind the log by milliseconds (`async`) or within each command (`inline`).

        When it is further behind than `lag_limit` seconds, an alert is raised and `/health/ready` fails; if you do not
        say, the limit is the app's. May be used as a decorator, `@app.project(mode="inline")` too.

        :raises ConfigurationError: the limit is no number above 0, or there is no such mode.
        """
        if mode not in get_args(Mode):
            raise ConfigurationError(f"mode={mode!r}: a projection is async or inline. Correct it.")
        if lag_limit is not None:
            check_limit(lag_limit, getattr(projection, "__name__", "project"))

        def register(chosen: Any) -> Any:
            self.projected[chosen] = mode
            if lag_limit is not None:
                self.limited[chosen] = lag_limit
            return chosen

        return register if projection is None else register(projection)

    def saga(self, saga: type[S]) -> type[S]:
        """Have a saga carry work across aggregates. May be used as a decorator."""
        self.sagas.append(saga)
        return saga

    @overload
    def reaction(self, function: R, /) -> R: ...
    @overload
    def reaction(
        self,
        /,
        *,
        name: str | None = None,
        key: Key = None,
        begins: Begins = "head",
        attempts: int = ATTEMPTS,
        timeout: timedelta = TIMEOUT,
    ) -> Callable[[R], R]: ...
    def reaction(
        self,
        function: Any = None,
        /,
        *,
        name: str | None = None,
        key: Key = None,
        begins: Begins = "head",
        attempts: int = ATTEMPTS,
        timeout: timedelta = TIMEOUT,
    ) -> Any:
        """Register an async function that does something outside because of an event, its first parameter.

        It is called at least once for each event, those of one `key` (a field, or a function of event and metadata;
        else the stream) in their order, and tried again when it raises, or takes longer than `timeout`, up to so many
        times; then it is put aside with all later events of its key until somebody acts. It may ask for `Metadata`,
        for its `IdempotencyKey`, for a `CommandBus`, and for what is provided. `begins`: what was there before the
        first start is left alone, or not.
        """
        if function is not None and not callable(function):
            raise TypeError(f"{function!r} is no function; write @app.reaction(name={function!r})")
        names = local_names()

        def register(chosen: Any) -> Any:
            called = name or str(getattr(chosen, "__name__", type(chosen).__name__))
            self.reactions.append(Declared(chosen, names, called, key, begins, attempts, timeout))
            return chosen

        return register if function is None else register(function)

    def publish(self, publication: Publication, publisher: Publisher) -> None:
        """Tell other systems of events, through a broker: each at least once, in the order of its stream.

        The publisher is opened and closed with the app.
        """
        self.published.append(Published(publication, publisher))

    def consume(self, inbox: Inbox) -> None:
        """Have messages of another system become commands, each once. Its source is opened and closed with the app."""
        self.inboxes.append(inbox)

    def on_alert(self, handler: AlertSink) -> AlertSink:
        """Register an async function (or a `diptych.alerts.Webhook`) that is told of each change of an alert.

        Of several processes, the one that made the change tells its handlers. May be used as a decorator.

        :raises ConfigurationError: it is not async.
        """
        if not is_async(handler):
            raise ConfigurationError(f"{where(handler)}: it is told of alerts and is not async; write async def")
        self.alert_handlers.append(handler)
        return handler

    def provide(self, type: TypeForm[T], factory: T | Callable[..., Any]) -> None:
        """Say what a parameter of this type gets: an object, or a class, function or async generator that makes it.

        Made once, when the app starts; its own parameters are provided; an async generator is finished when it stops.
        """
        self.provided.append((type, factory, local_names()))

    def upcast(self, event_name: str, from_version: int) -> Callable[[U], U]:
        """Register the step that turns an old payload (a dict) of this stored name into the next version's."""

        def register(upcaster: U) -> U:
            self.upcasters.add(event_name, from_version, upcaster)
            return upcaster

        return register

    def include(self, module: "Module") -> None:
        """Make another module part of this one. :raises ConfigurationError: it is none, such as a file of Python."""
        if not isinstance(module, Module):
            what = getattr(module, "__name__", type(module).__name__)
            raise ConfigurationError(f'{what} is no Module of Diptych. Include an object made by Module("...").')
        self.included.append(module)

    def everything(self) -> list["Module"]:
        """Return this module and all that it includes, each once, itself first."""
        found: list[Module] = []
        waiting = [self]
        while waiting:
            module = waiting.pop(0)
            if module not in found:
                found.append(module)
                waiting.extend(module.included)
        return found


def _refuse_message(handler: Any, decorator: str) -> None:
    """:raises ConfigurationError: it is what a handler takes, as in `@app.command_handler(PlaceOrder)`."""
    if isinstance(handler, type) and issubclass(handler, Command | Query):
        what = f"@app.{decorator}({handler.__name__})"
        raise ConfigurationError(
            f"{what}: write @app.{decorator} alone. The function's first parameter says what it takes."
        )


def check_limit(seconds: float, of: str) -> float:
    """Return a limit of lag. :raises ConfigurationError: it is no number above 0."""
    if not 0 < seconds < inf:
        raise ConfigurationError(f"{of}: lag_limit={seconds!r} is no limit. Give seconds, above 0.")
    return seconds
