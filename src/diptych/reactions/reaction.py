"""A function that does something outside because of an event: at least once, and always under the same key.

Rule: everything that can be wrong with the function is said here, at start.
"""

from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple, get_args
from uuid import UUID

from diptych.clock import id_for
from diptych.events.recorded import RecordedEvent
from diptych.handlers import Parameter, Signature, alternatives, is_async, name_of, signature, where
from diptych.messages import DomainEvent, IdempotencyKey, Metadata
from diptych.subscriptions.tasks import as_key, full_key

Begins = Literal["head", "beginning"]
Key = str | Callable[[Any, Metadata], Any] | None

ATTEMPTS: Final = 8
"""With delays from half a second, doubled each time, that is about a minute."""

TIMEOUT: Final = timedelta(minutes=5)
"""What takes longer hangs: it would hold up all later events of its key for ever."""


def key_for(reaction: str, event_id: UUID) -> IdempotencyKey:
    """Return the key of a reaction to an event."""
    return IdempotencyKey(id_for(f"reaction {reaction}", str(event_id)))


class Declared(NamedTuple):
    """A reaction as it was registered. `names` are the local names that its annotations may use."""

    function: Callable[..., Coroutine[Any, Any, Any]]
    names: Mapping[str, Any]
    name: str
    key: Key = None
    begins: Begins = "head"
    attempts: int = ATTEMPTS
    timeout: timedelta = TIMEOUT  # of each try


class Reaction(NamedTuple):
    """A reaction, read: what it takes, and which of its parameters it gets with each event."""

    declared: Declared
    events: tuple[type[DomainEvent], ...]
    metadata: str | None
    key: str | None
    rest: Signature  # what it wants to be provided

    def order(self, recorded: RecordedEvent) -> str:
        """Return the key by which reactions keep their order: the stream's id unless another was declared.

        The tenant is a part of it: what was put aside of one holds up no other.
        """
        by, key = self.declared.key, str(recorded.row.stream.id)
        if isinstance(by, str):
            key = as_key(str(getattr(recorded.event, by)))
        elif by is not None:
            key = as_key(str(by(recorded.event, recorded.metadata)))
        return full_key(recorded.row.stream.tenant, key)


def read_reaction(declared: Declared) -> Reaction:
    """Read a reaction. :raises TypeError: and says what to write. :raises NameError: an annotation names nothing."""
    function = declared.function
    if not is_async(function):
        raise TypeError(f"{where(function)}: it is not async; write async def")
    read = signature(function, declared.names)
    if read.message is None:
        raise TypeError(f"{read.where}: it takes nothing; write an event as its first parameter")
    events = _events(read.message.annotation)
    if not events:
        raise TypeError(
            f"{read.where}: its first parameter is {name_of(read.message.annotation)}; write a DomainEvent of yours"
        )
    if declared.begins not in get_args(Begins):
        raise TypeError(f"{read.where}: begins={declared.begins!r}; it is head or beginning")
    if type(declared.attempts) is not int or declared.attempts < 1:
        raise TypeError(f"{read.where}: attempts={declared.attempts!r}; it is tried once at least")
    if not (isinstance(declared.timeout, timedelta) and declared.timeout > timedelta()):
        raise TypeError(f"{read.where}: timeout={declared.timeout!r}; write a timedelta above 0")
    missing = [one.__name__ for one in events if isinstance(declared.key, str) and declared.key not in one.model_fields]
    if missing:
        raise TypeError(f"{read.where}: key={declared.key!r} is no field of {missing[0]}")
    rest = tuple(one for one in read.parameters if one.annotation not in (Metadata, IdempotencyKey))
    own = _named(read.parameters, Metadata), _named(read.parameters, IdempotencyKey)
    return Reaction(declared, events, *own, Signature(rest, read.returns, read.where))


def _named(parameters: tuple[Parameter, ...], kind: type) -> str | None:
    return next((one.name for one in parameters if one.annotation is kind), None)


def _events(annotation: Any) -> tuple[type[DomainEvent], ...]:
    kinds = alternatives(annotation)
    if all(isinstance(kind, type) and issubclass(kind, DomainEvent) and kind is not DomainEvent for kind in kinds):
        return tuple(kinds)
    return ()
