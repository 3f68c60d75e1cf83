"""The consistency boundary: decides, records what happened, and is rebuilt from it.

Rule: no I/O, no clock and no bus in here; an aggregate is its events.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any, ClassVar
from uuid import UUID

from diptych.errors import ConfigurationError, ProgrammingError
from diptych.handlers import alternatives, at, marked, name_of, signature
from diptych.messages import DomainEvent

_RESERVED = ("id", "version", "record", "aggregate_name")
_IMMUTABLE = (str, int, float, bool, bytes, tuple, frozenset, type(None))

_NOT_PLAIN = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
_MUTABLE = (list, dict, set, bytearray)

Applier = Callable[[Any, DomainEvent], None]


class Aggregate:
    """Subclass it: annotated attributes are the state, methods decide and `record`, `@on` methods change state.

    There is no `__init__` to write. Mutable defaults are copied for each object. Streams are stored under the class
    name, or under `class Order(Aggregate, name="order")`. An event without an `@on` method is recorded and changes
    nothing.
    """

    aggregate_name: ClassVar[str] = "Aggregate"
    id: UUID
    version: int
    _defaults: ClassVar[dict[str, Any]] = {}
    _appliers: ClassVar[dict[type[DomainEvent], Applier] | None] = None

    def __init_subclass__(cls, name: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        taken = [reserved for reserved in _RESERVED if reserved in vars(cls) or reserved in _annotations(cls)]
        if taken:
            raise TypeError(f"{cls.__name__}.{taken[0]}: this name is reserved by Diptych. Choose another.")
        if "__init__" in vars(cls):
            raise TypeError(f"{cls.__name__}.__init__: write a classmethod that records the first event instead.")
        for attribute, value in vars(cls).items():
            if isinstance(value, _MUTABLE) and not attribute.startswith("__") and attribute not in _annotations(cls):
                raise TypeError(
                    f"{cls.__name__}.{attribute}: all aggregates would share it. Annotate it, as all state is."
                )
        cls.aggregate_name = name or cls.__name__
        state = {
            name: value
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if name in _annotations(base) and not name.startswith("__") and _is_state(name, base)
        }
        cls._defaults = {name: value for name, value in state.items() if _is_copied(value)}
        cls._appliers = None

    def __init__(self, id: UUID) -> None:
        state = self.__dict__
        state["id"] = id
        state["version"] = 0
        state["_pending"] = []
        for name, default in self._defaults.items():
            state[name] = deepcopy(default)

    def record(self, event: DomainEvent) -> None:
        """Say that something happened: state changes at once, and the event is stored when the command commits."""
        recorded = self.__dict__["_pending"]
        if type(recorded) is tuple:
            raise ProgrammingError(
                f"{self}: {type(event).__name__} was recorded after its command had ended and would be lost. "
                "Load the aggregate in the command that changes it."
            )
        applier = appliers(type(self)).get(type(event))
        if applier is not None:
            apply_one(self, applier, event)
        elif not isinstance(event, DomainEvent):
            what = f"the class {event.__name__}" if isinstance(event, type) else f"a {type(event).__name__}"
            raise ProgrammingError(f"{self} recorded {what}. Record an object of a DomainEvent of yours.")
        recorded.append(event)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id}, version={self.version})"


def _annotations(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = vars(cls).get("__annotations__", {})
    return found


def _is_state(name: str, cls: type) -> bool:
    return name not in ("_defaults", "_appliers") and "ClassVar" not in str(_annotations(cls).get(name, ""))


def _is_copied(default: Any) -> bool:
    """Whether each object gets a default of its own: copying a number, an Enum or a date gives the same one."""
    return not isinstance(default, _IMMUTABLE) and deepcopy(default) is not default


def appliers(cls: type[Aggregate]) -> dict[type[DomainEvent], Applier]:
    """Return what changes an aggregate's state, by event class; read once, when first needed.

    :raises ConfigurationError: a method marked with `@on` does not take one event, or two take the same.
    """
    if cls._appliers is None:
        found: dict[type[DomainEvent], Applier] = {}
        problems: list[str] = []
        for method, mark in marked(cls).values():
            try:
                read = signature(method, mark.names, skip=1)
            except (NameError, TypeError) as error:
                problems.append(at(method, f"{error}; annotate it with names that can be imported"))
                continue
            taken = [parameter.annotation for parameter in read.parameters]
            events = _events(taken[0]) if len(taken) == 1 else ()
            if any(is_one(method) for is_one in _NOT_PLAIN):
                problems.append(f"{read.where}: @on takes a plain method, called at once; write def, and await nothing")
            elif not events:
                problems.append(
                    f"{read.where}: takes {_list(taken)}; write def {method.__name__}(self, event: YourEvent)"
                )
            for event in events:
                if found.setdefault(event, method) is not method:
                    problems.append(f"{read.where}: {event.__name__} has an @on method already; delete one of the two")
        if problems:
            raise ConfigurationError(problems)
        cls._appliers = found
    return cls._appliers


def _list(taken: list[Any]) -> str:
    return ", ".join(map(name_of, taken)) or "no event"


def _events(annotation: Any) -> tuple[Any, ...]:
    """The event classes that an annotation names, one or several joined by |; none if it names anything else."""
    kinds = alternatives(annotation)
    return kinds if all(_is_event(kind) for kind in kinds) else ()


def _is_event(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, DomainEvent) and kind is not DomainEvent


def apply_one(aggregate: Aggregate, applier: Applier, event: DomainEvent) -> None:
    """Change state by one event. While it runs, setting state is allowed (see `guard.py`)."""
    state = aggregate.__dict__
    state["_is_applying"] = True
    try:
        applier(aggregate, event)
    finally:
        state["_is_applying"] = False


def replay(aggregate: Aggregate, events: Iterable[DomainEvent]) -> None:
    """Fold stored events onto an aggregate, raising its version with each."""
    find = appliers(type(aggregate)).get
    state = aggregate.__dict__
    state["_is_applying"] = True
    count = 0
    try:
        for event in events:
            applier = find(type(event))
            if applier is not None:
                applier(aggregate, event)
            count += 1
    finally:
        state["_is_applying"] = False
        state["version"] += count


def pending(aggregate: Aggregate) -> Sequence[DomainEvent]:
    """Return what was recorded and not stored yet."""
    recorded: Sequence[DomainEvent] = aggregate.__dict__["_pending"]
    return recorded


def seal(aggregate: Aggregate) -> Sequence[DomainEvent]:
    """Return what was recorded; from now on nothing more is, until the aggregate is reopened."""
    recorded = aggregate.__dict__["_pending"] = tuple(aggregate.__dict__["_pending"])
    return recorded


def reopen(aggregate: Aggregate) -> None:
    """Let another command use an aggregate of which everything is stored."""
    aggregate.__dict__["_pending"] = []


def mark_stored(aggregate: Aggregate, version: int) -> None:
    """Note that everything recorded is stored, up to this version."""
    aggregate.__dict__["version"] = version
    aggregate.__dict__["_pending"] = ()
