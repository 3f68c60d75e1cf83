"""Commands, events and queries: what is said between the two sides.

Rule: messages are data; nothing here knows a handler, a store or a bus.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from inspect import get_annotations
from typing import Any, ClassVar, Final, Generic
from uuid import UUID
from weakref import WeakSet

from pydantic import BaseModel, ConfigDict, Field
from pydantic._internal._model_construction import ModelMetaclass
from typing_extensions import TypeVar, dataclass_transform

from diptych.clock import new_id
from diptych.errors import ProgrammingError
from diptych.stream import StreamName, token

R = TypeVar("R", default=None)

_ENVELOPE = ("command_id", "timestamp", "user_id", "correlation_id", "causation_id", "tenant", "envelope")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
class _MessageMeta(ModelMetaclass):
    """Tells type checkers that messages are frozen and take keywords only."""


class _Message(BaseModel, metaclass=_MessageMeta):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _refuse_reserved(cls: type, names: tuple[str, ...]) -> None:
    taken = [name for name in names if name in get_annotations(cls)]
    if taken:
        raise TypeError(f"{cls.__name__}.{taken[0]}: this name is reserved by Diptych. Choose another field name.")


class Envelope:
    """Who sent a command, when, and as part of what. Set by the bus, never by data (I4)."""

    __slots__ = (
        "_command_id", "beside", "causation_id", "correlation_id", "expected", "is_known", "tenant", "timestamp",
        "user_id",
    )  # fmt: skip

    def __init__(
        self,
        command_id: UUID | None = None,
        *,
        user_id: str | None = None,
        correlation_id: UUID | None = None,
        causation_id: UUID | None = None,
        tenant: str = "",
    ) -> None:
        self._command_id = command_id
        self.is_known = command_id is not None  # somebody may have sent this command before
        self.expected: Mapping[UUID, int] | int | None = None
        self.beside: Any = None  # what commits with it: rows of whoever sent it
        self.timestamp = time.time()
        self.user_id, self.tenant = user_id, tenant
        self.correlation_id, self.causation_id = correlation_id, causation_id

    @property
    def command_id(self) -> UUID:
        """The id under which this command takes effect once; made when first asked for, unless the caller gave one."""
        if self._command_id is None:
            self._command_id = new_id()
        return self._command_id


class Command(_Message, Generic[R]):
    """An intent: asks the write side to change something. `Command[UUID]` says what its handler returns.

    Its envelope (command id, time, user, correlation) is no field: it is in no body, no schema and no comparison.
    The same object dispatched twice is the same command: it takes effect once.
    """

    __slots__ = ("_envelope",)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _refuse_reserved(cls, _ENVELOPE)

    @property
    def envelope(self) -> Envelope:
        """Who, when and as part of what; a new one until the command is dispatched."""
        envelope = envelope_of(self)
        if envelope is None:
            envelope = Envelope()
            _slot.__set__(self, envelope)
        return envelope

    @property
    def command_id(self) -> UUID:
        """Under this id the command takes effect once."""
        return self.envelope.command_id

    @property
    def timestamp(self) -> datetime:
        """When the command was dispatched, in UTC."""
        return datetime.fromtimestamp(self.envelope.timestamp, UTC)

    @property
    def user_id(self) -> str | None:
        """Who sent it, as the application's own dependency says."""
        return self.envelope.user_id

    @property
    def correlation_id(self) -> UUID | None:
        """The conversation it belongs to: the same for everything one request caused."""
        return self.envelope.correlation_id

    @property
    def causation_id(self) -> UUID | None:
        """The message that caused it, if one did."""
        return self.envelope.causation_id


_tenant: Final[ContextVar[str]] = ContextVar("diptych_tenant", default="")


@contextmanager
def on_behalf_of(tenant: str) -> Iterator[None]:
    """Have commands that are dispatched here, outside of another, be of this tenant."""
    before = _tenant.set(tenant)
    try:
        yield
    finally:
        _tenant.reset(before)


def tenant_here() -> str:
    """Return the tenant on whose behalf this runs; it is empty unless you have tenants."""
    return _tenant.get()


_slot: Any = Command.__dict__["_envelope"]  # asked directly: pydantic takes long to say that an attribute is not there


def envelope_of(command: Command[Any]) -> Envelope | None:
    """Return the envelope of a command, or None if it was never dispatched nor asked for its id.

    :raises ProgrammingError: it is no command.
    """
    try:
        envelope: Envelope = _slot.__get__(command)
    except AttributeError:
        return None
    except TypeError:
        raise not_a(Command, command) from None
    return envelope


def not_a(kind: type[Any], sent: Any) -> ProgrammingError:
    """Return what to raise when something else than a command, or a query, is dispatched; its values are not told."""
    if isinstance(sent, type):
        return ProgrammingError(
            f"The class {sent.__name__} was dispatched. Dispatch an object of it: {sent.__name__}(...)."
        )
    what = f"{type(sent).__name__} was dispatched to the {'command' if kind is Command else 'query'} bus"
    if isinstance(sent, Command | Query):
        bus = "app.commands" if isinstance(sent, Command) else "app.queries"
        return ProgrammingError(f"{what}, and is none. Write {bus}.dispatch(...).")
    return ProgrammingError(f"{what}, and is none. Dispatch an object of a {kind.__name__} of yours.")


def with_envelope(command: Command[Any], envelope: Envelope, *, is_first: bool) -> Command[Any]:
    """Put an envelope on a command: on itself when it is its first, else on a copy."""
    target = command if is_first else command.model_copy()
    _slot.__set__(target, envelope)
    return target


class DomainEvent(_Message):
    """A fact. Stored under its class name as version 1 unless the class says `name=` and `version=`.

    `inert=True` says that it is kept as history only: no `@on` has to take it, and `diptych check` asks for none.
    """

    event_name: ClassVar[str] = "DomainEvent"
    schema_version: ClassVar[int] = 1
    is_inert: ClassVar[bool] = False

    def __init_subclass__(
        cls, name: str | None = None, version: int = 1, *, inert: bool = False, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        _refuse_reserved(cls, ("event_name", "schema_version", "is_inert"))
        if type(version) is not int or not 0 < version < 2**31:
            raise TypeError(f"{cls.__name__}: version={version!r}; a schema version is a whole number from 1 on.")
        cls.event_name = name or cls.__name__
        cls.schema_version = version
        cls.is_inert = inert
        _declared.add(cls)


_declared: WeakSet[type[DomainEvent]] = WeakSet()


def declared_events() -> tuple[type[DomainEvent], ...]:
    """Every event class defined so far in this process. An app's registry resolves among these."""
    return tuple(_declared)


class Query(_Message, Generic[R]):
    """A question to the read side. `Query[Order | None]` says what its answer is."""


def result_type(message: type[Command[Any]] | type[Query[Any]]) -> Any:
    """What the handler of this command or query returns: the type in its brackets, or None without."""
    for cls in message.__mro__:
        generic = cls.__dict__.get("__pydantic_generic_metadata__")
        if generic and generic["origin"] in (Command, Query):
            result = generic["args"][0]
            return type(None) if result is None else result
    return type(None)


def is_parametrised(message: type[BaseModel]) -> bool:
    """Whether this is `Command[X]` or `Query[X]` itself, which pydantic makes a real class, and not a user's."""
    return message.__pydantic_generic_metadata__["origin"] is not None or message in (Command, Query)


class IdempotencyKey(str):
    """The same for one thing to do, however often it is tried: give it to whoever is asked to do it.

    It is a UUID as text; `id` is it as a UUID, as `command_id=` wants it.
    """

    __slots__ = ()

    @property
    def id(self) -> UUID:
        """The key as a UUID."""
        return UUID(self)


class Metadata:
    """What was written down beside an event: where it stands, when, by whom and because of what."""

    event_id: UUID
    stream: StreamName
    version: int
    position: int
    recorded_at: datetime
    correlation_id: UUID | None
    causation_id: UUID | None
    user_id: str | None
    command_id: UUID | None
    schema_version: int

    def __init__(self, **facts: Any) -> None:
        unknown = facts.keys() - Metadata.__annotations__.keys()
        if unknown:
            raise TypeError(f"Metadata has no {sorted(unknown)}")
        absent: dict[str, Any] = {"correlation_id": None, "causation_id": None, "user_id": None, "command_id": None}
        self.__dict__.update(absent, schema_version=1)
        self.__dict__.update(facts)

    def __repr__(self) -> str:
        return f"Metadata(position={self.position}, stream={self.stream}, version={self.version})"


@dataclass(frozen=True, slots=True)
class Receipt(Generic[R]):
    """What a command did: proof that it is on disk, and the key to reading your own write.

    `position` is that of its last event, or of the newest event it decided on when it recorded none; `event_id` is
    that event's. Give the receipt, or its `token`, as `after=` to a query, in this process or another.
    """

    result: R
    position: int
    event_id: bytes
    streams: Mapping[StreamName, int]
    command_id: UUID
    event_types: frozenset[str] = frozenset()
    is_replay: bool = False

    @property
    def token(self) -> str:
        """The place in the log after this command, as an opaque string: survives restarts, fits in a header."""
        return token(self.position, self.event_id)
