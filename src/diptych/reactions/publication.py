"""What a service tells others: which events, and as what.

Rule: only what is said here leaves the service; everything that can be wrong with it is said at start.
"""

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, NamedTuple, TypeVar

from diptych.events.recorded import RecordedEvent
from diptych.handlers import alternatives, is_async, local_names, signature
from diptych.messages import DomainEvent, Metadata
from diptych.reactions.messages import IntegrationEvent, IntegrationMessage
from diptych.reactions.publisher import Publisher
from diptych.reactions.reaction import Begins

M = TypeVar("M", bound=Callable[..., IntegrationEvent | None])


class Mapped(NamedTuple):
    """How one domain event is told, and as which integration events."""

    function: Callable[..., IntegrationEvent | None]
    wants_metadata: bool
    makes: tuple[type[IntegrationEvent], ...]


class Publication:
    """A range of events for others: `orders = Publication("orders", source="/shop")`, then `app.publish(orders, ...)`.

    `@orders.event` marks the function that makes an integration event of a domain event, or None where others are told
    nothing. It is a plain function; what it makes is the same whenever the event is published again (D2).
    """

    def __init__(self, name: str, *, source: str, begins: Begins = "head") -> None:
        self.name, self.source, self.begins = name, source, begins
        self._declared: list[tuple[Any, Mapping[str, Any]]] = []

    def event(self, function: M) -> M:
        """Mark what tells others of the event that is its first parameter; a second may be its `Metadata`."""
        self._declared.append((function, local_names()))
        return function

    def read(self) -> Mapping[type[DomainEvent], Mapped]:
        """Return what is told, by domain event. :raises TypeError: and says what to write. :raises NameError:"""
        found: dict[type[DomainEvent], Mapped] = {}
        for function, names in self._declared:
            read = signature(function, names)
            if is_async(function):
                raise TypeError(f"{read.where}: it is async; what others are told is made of the event alone")
            taken = [one.annotation for one in read.parameters]
            if not 1 <= len(taken) <= 2 or any(one is not Metadata for one in taken[1:]):
                raise TypeError(f"{read.where}: write (event: YourEvent) or (event: YourEvent, meta: Metadata)")
            makes = [one for one in alternatives(read.returns) if one is not NoneType]
            if not makes or not all(isinstance(one, type) and issubclass(one, IntegrationEvent) for one in makes):
                raise TypeError(f"{read.where}: it returns {read.returns}; annotate the IntegrationEvent it makes")
            for event in alternatives(taken[0]):
                if not (isinstance(event, type) and issubclass(event, DomainEvent)):
                    raise TypeError(f"{read.where}: its first parameter is {event}; write a DomainEvent of yours")
                if event in found:
                    raise TypeError(f"{read.where}: {event.__name__} is told by another function of {self.name}")
                found[event] = Mapped(function, len(taken) == 2, tuple(makes))
        if not found:
            raise TypeError(f"Publication {self.name}: it tells nothing; mark a function with @{self.name}.event")
        return found


class Published(NamedTuple):
    """A publication, and where it goes."""

    publication: Publication
    publisher: Publisher


def message_of(source: str, mapped: Mapped, recorded: RecordedEvent) -> IntegrationMessage | None:
    """Make the message of an event; None if others are told nothing."""
    arguments = (recorded.event, recorded.metadata) if mapped.wants_metadata else (recorded.event,)
    made = mapped.function(*arguments)
    if made is None:
        return None
    meta = recorded.metadata
    return IntegrationMessage(
        id=meta.event_id,
        type=made.message_type(),
        source=source,
        key=str(meta.stream.id),
        time=meta.recorded_at,
        data=made.model_dump_json(),
        position=meta.position,
        slice=meta.stream.slice,
        tenant=meta.stream.tenant,
        correlation_id=meta.correlation_id,
        causation_id=meta.causation_id,
    )
