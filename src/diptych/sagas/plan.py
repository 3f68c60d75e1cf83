"""A saga class, read: which method takes what, and how its memory is written down.

Rule: everything that can be wrong with the class is said here, at start.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, create_model

from diptych.errors import ConfigurationError, ProgrammingError
from diptych.events.recorded import RecordedEvent
from diptych.handlers import On, alternatives, marked, signature, where
from diptych.messages import Command, DomainEvent, Metadata
from diptych.sagas.saga import Rejected, Saga, Timeout, one_line
from diptych.sagas.steps import Steps, check_steps
from diptych.subscriptions.tasks import as_key, full_key

KeyOf = Callable[[RecordedEvent], str | None]
"""Which saga an event is for, by its full key; None: for none."""

_PRIVATE = ("id", "key")


class Way(NamedTuple):
    """A method, and what it wants beside what it takes."""

    method: Callable[..., Any]
    wants_metadata: bool
    starts: bool = False
    key_of: KeyOf | None = None

    def call(self, saga: Saga, taken: Any, metadata: Metadata | None) -> None:
        """Have the saga take it. :raises ProgrammingError: what its method returns would be forgotten."""
        returned = self.method(saga, taken, metadata) if self.wants_metadata else self.method(saga, taken)
        if returned is not None:
            if inspect.iscoroutine(returned):
                returned.close()
            raise ProgrammingError(
                f"{saga}: {self.method.__name__} returned a {type(returned).__name__}, which nobody takes. "
                "Write self.dispatch(command), and return nothing."
            )


class Plan(NamedTuple):
    """What a saga takes. `memory` is its state as a model, by which it is written down and read."""

    saga: type[Saga]
    memory: type[BaseModel]
    events: Mapping[type[DomainEvent], Way]
    timeouts: Mapping[str, tuple[type[Timeout], Way]]
    rejections: Mapping[type[Command[Any]], Way]

    @property
    def name(self) -> str:
        """The saga's stored name."""
        return self.saga.saga_name


def plan_of(saga: type[Saga]) -> Plan:
    """Read a saga class. :raises ConfigurationError: with all that is wrong with it."""
    if not (isinstance(saga, type) and issubclass(saga, Saga)):
        raise ConfigurationError(f"{saga!r:.100} is no Saga; write app.saga(YourSaga), with the class")
    problems: list[str] = []
    events: dict[type[DomainEvent], Way] = {}
    timeouts: dict[str, tuple[type[Timeout], Way]] = {}
    rejections: dict[type[Command[Any]], Way] = {}
    names: dict[str, Any] = {}
    for method, mark in marked(saga).values():
        names.update(mark.names or {})
        try:
            taken, way = _way(method, mark)
        except NameError as error:
            problems.append(f"{where(method)}: {error}; annotate it with names that can be imported")
            continue
        except (TypeError, ValueError) as error:
            problems.append(f"{where(method)}: {str(error).removeprefix(f'{where(method)}: ')}")
            continue
        for kind in taken:
            if get_origin(kind) is Rejected:
                _put(rejections, get_args(kind)[0], way, problems)
            elif issubclass(kind, Timeout):
                _put(timeouts, kind.__name__, (kind, way), problems)
            else:
                _put(events, kind, way, problems)
    problems.extend(_unmarked(saga, names))
    problems.extend(check_steps(saga))
    if not any(mark.starts for _, mark in marked(saga).values()):
        problems.append(f"{where(saga)}: no event begins it; write @on(starts=True) on the method that takes the first")
    memory = _memory(saga, names, problems)
    if problems or memory is None:
        raise ConfigurationError(problems)
    return Plan(saga, memory, events, timeouts, rejections)


def _unmarked(saga: type[Saga], names: Mapping[str, Any]) -> Iterator[str]:
    """Find methods that take what a saga takes, and are never called: a forgotten @on, or an override without it."""
    members = {
        name: each for base in reversed(saga.__mro__) if base not in (Saga, Steps) for name, each in vars(base).items()
    }
    for name in sorted(members.keys() - marked(saga).keys()):
        method = members[name]
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        with suppress(NameError, TypeError):
            first = [each.annotation for each in signature(method, names, skip=1).parameters][:1]
            taken = [kind for each in first for kind in alternatives(each)]
            if taken and all(_is_event(kind) or _is_other(kind) for kind in taken):
                what = " | ".join(getattr(kind, "__name__", str(kind)) for kind in taken)
                yield f"{where(method)}: it takes {what} and nobody calls it; write @on, or begin its name with _"


def _is_event(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, DomainEvent) and kind is not DomainEvent


def _put(found: dict[Any, Any], kind: Any, way: Any, problems: list[str]) -> None:
    method = way[1].method if isinstance(way[0], type) else way.method
    if kind in found:
        what = kind if isinstance(kind, str) else kind.__name__
        problems.append(f"{where(method)}: {what} is taken by another method of this saga; take it in one")
    found[kind] = way


def _way(method: Callable[..., None], mark: On) -> tuple[list[Any], Way]:
    if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
        raise TypeError("a saga decides and does nothing itself; write a plain def, and dispatch commands")
    if mark.each is not None:
        raise TypeError("each= is for projections; an event finds one saga, by key=")
    read = signature(method, mark.names, skip=1)
    if not 1 <= len(read.parameters) <= 2 or any(each.annotation is not Metadata for each in read.parameters[1:]):
        name = method.__name__
        raise TypeError(f"write def {name}(self, event: YourEvent) or {name}(self, event: YourEvent, meta: Metadata)")
    annotation = read.parameters[0].annotation
    taken = list(alternatives(annotation))
    is_event = all(isinstance(each, type) and issubclass(each, DomainEvent) for each in taken)
    if not is_event and not all(_is_other(each) for each in taken):
        raise TypeError(f"it takes {annotation}; a saga takes a DomainEvent, a Timeout, or Rejected[YourCommand]")
    if mark.starts and not is_event:
        raise TypeError("only an event begins a saga; leave starts= out")
    way = Way(method, len(read.parameters) == 2, mark.starts, _key(mark.key, taken) if is_event else None)
    return taken, way


def _is_other(kind: Any) -> bool:
    if get_origin(kind) is Rejected:
        (command,) = get_args(kind)
        return isinstance(command, type) and issubclass(command, Command)
    return isinstance(kind, type) and issubclass(kind, Timeout)


def _key(key: Any, events: list[type[DomainEvent]]) -> KeyOf:
    """Return what finds a saga's key: a field, several, a function, or else the id of the event's stream.

    The tenant of that stream is a part of it, so that no tenant's event is ever taken by another's saga.
    """
    own = _own_key(key, events)

    def key_of(recorded: RecordedEvent) -> str | None:
        found = own(recorded)
        return None if found is None else full_key(recorded.row.stream.tenant, found)

    return key_of


def _own_key(key: Any, events: list[type[DomainEvent]]) -> KeyOf:
    if key is None:
        return lambda recorded: str(recorded.row.stream.id)
    if callable(key):
        return lambda recorded: _text(key(recorded.event, recorded.metadata))
    fields = key if isinstance(key, tuple) else (key,)
    for event in events:
        missing = [field for field in fields if field not in event.model_fields]
        if missing:
            raise ValueError(f"key={key!r}: {event.__name__} has no field {missing[0]}")

    def of_fields(recorded: RecordedEvent) -> str | None:
        values = [_text(getattr(recorded.event, field)) for field in fields]
        if len(fields) == 1 or None in values:
            return None if None in values else values[0]
        apart = [str(value).replace("%", "%25").replace("/", "%2F") for value in values]  # a/b and c, a and b/c
        return as_key("/".join(apart))

    return of_fields


def _text(value: Any) -> str | None:
    return None if value is None else as_key(str(value))


def _named(hint: Any) -> str:
    return f"{hint.__module__}.{hint.__qualname__}" if isinstance(hint, type) else str(hint)


def _memory(saga: type[Saga], names: Mapping[str, Any], problems: list[str]) -> type[BaseModel] | None:
    try:
        hints = get_type_hints(saga, localns=dict(names))
    except NameError as error:
        problems.append(f"{where(saga)}: {error}; annotate its attributes with names that can be imported")
        return None
    fields: dict[str, Any] = {}
    for name, hint in hints.items():
        if name in _PRIVATE or name.startswith("_") or get_origin(hint) is ClassVar or "ClassVar" in str(hint):
            continue
        if not hasattr(saga, name):
            problems.append(f"{where(saga)}: {name} has no default; a saga begins before it knows anything")
            continue
        try:
            TypeAdapter(hint)
        except PydanticUserError:
            problems.append(f"{where(saga)}: {name} is a {_named(hint)}, which JSON cannot hold; remember it otherwise")
            continue
        fields[name] = (hint, getattr(saga, name))
    config = ConfigDict(
        extra="ignore", ser_json_inf_nan="strings", ser_json_bytes="base64", val_json_bytes="base64"
    )  # what JSON has no word for is kept all the same
    memory: type[BaseModel] = create_model(f"{saga.__name__}Memory", __config__=config, **fields)
    try:
        first = memory.model_validate({name: default for name, (_, default) in fields.items()})
        memory.model_validate_json(first.model_dump_json())
    except ValueError as error:
        problems.append(f"{where(saga)}: its defaults cannot be written down: {one_line(error)}")
    return memory
