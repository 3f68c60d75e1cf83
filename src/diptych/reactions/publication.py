"""What a service tells others: which events, and as what.

Rule: only what is said here leaves the service; everything that can be wrong with it is said at start.
"""

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, Final, NamedTuple, TypeVar, get_args

from diptych.errors import ConfigurationError, ProgrammingError
from diptych.events.recorded import RecordedEvent
from diptych.handlers import alternatives, is_async, local_names, name_of, signature
from diptych.messages import DomainEvent, Metadata
from diptych.reactions.messages import IntegrationEvent, IntegrationMessage
from diptych.reactions.publisher import Publisher
from diptych.reactions.reaction import Begins
from diptych.subscriptions.failures import named

_STANDS: Final = "Mend the function: later events of its lane wait, for they go out in order."

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
        if self.begins not in get_args(Begins):
            raise TypeError(f"Publication {self.name}: begins={self.begins!r}; it is head or beginning")
        if not self.source:
            raise TypeError(f'Publication {self.name}: source={self.source!r}; say who tells it: source="/shop"')
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
                raise TypeError(f"{read.where}: {read.returning}; annotate the IntegrationEvent it makes")
            for event in alternatives(taken[0]):
                if not (isinstance(event, type) and issubclass(event, DomainEvent)):
                    raise TypeError(
                        f"{read.where}: its first parameter is {name_of(event)}; write a DomainEvent of yours"
                    )
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

    def check(self) -> None:
        """:raises TypeError: it goes to what is no publisher."""
        if not callable(getattr(self.publisher, "publish", None)):
            name = self.publication.name
            raise TypeError(f"Publication {name}: {self.publisher!r:.100} is no Publisher; write NatsPublisher(...)")

    async def open(self) -> None:
        """Open its publisher. :raises ConfigurationError: that is not made right; a broker that is away is no error."""
        try:
            await self.publisher.open()
        except Exception as error:
            name, kind = self.publication.name, type(self.publisher).__name__
            raise ConfigurationError(
                f"Publication {name}: its {kind} cannot be opened: {type(error).__name__}: {error}"
            ) from error


def message_of(source: str, mapped: Mapped, recorded: RecordedEvent) -> IntegrationMessage | None:
    """Make the message of an event; None if others are told nothing. :raises ProgrammingError: the function cannot."""
    arguments = (recorded.event, recorded.metadata) if mapped.wants_metadata else (recorded.event,)
    where = f"{recorded.row.type} at position {recorded.row.position} cannot be told"
    try:
        made = mapped.function(*arguments)
    except (Exception, SystemExit) as error:
        raise ProgrammingError(f"{where}: {named(error)}. {_STANDS}") from error
    if made is None:
        return None
    if not isinstance(made, mapped.makes):  # nobody could know of it by the contract
        name = mapped.function.__name__
        raise ProgrammingError(f"{where}: {name} made {made!r:.100}, which its annotation does not name. {_STANDS}")
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
