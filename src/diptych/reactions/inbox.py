"""What other systems tell this one: each message becomes a command, once.

Rule: what is wrong with an inbox is said at start; a message is acknowledged when what it led to is on disk.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import NoneType
from typing import Any, Final, NamedTuple, TypeVar

from diptych.errors import ProgrammingError
from diptych.handlers import alternatives, is_async, local_names, name_of, signature
from diptych.messages import Command
from diptych.reactions.messages import IntegrationEvent, IntegrationMessage, decode
from diptych.reactions.source import Incoming, Source

D = TypeVar("D", bound=Callable[..., Command[Any] | None])
Decode = Callable[[Incoming], IntegrationMessage]
TIMEOUT: Final = timedelta(minutes=1)
"""A command that takes longer hangs, and everything after its message with it."""


class Accepted(NamedTuple):
    """How one kind of message becomes a command. `event` is what it is read as."""

    function: Callable[..., Command[Any] | None]
    event: type[IntegrationEvent]
    wants_message: bool
    makes: tuple[type[Command[Any]], ...]

    def command(self, message: IntegrationMessage) -> Command[Any] | None:
        """Return what a message leads to; None if it leads to nothing.

        Fields that `event` does not have are left out, for who publishes may add some: that breaks no contract.
        """
        is_closed = self.event.model_config.get("extra") == "forbid"
        event = self.event.model_validate_json(message.data, extra="ignore" if is_closed else None)
        made = self.function(event, message) if self.wants_message else self.function(event)
        if not isinstance(made, Command | None):
            raise ProgrammingError(f"{self.function.__name__} made {made!r:.100}, which is no command. Mend it.")
        return made


def cloud_event(incoming: Incoming) -> IntegrationMessage:
    """Read a message as a CloudEvent: what an inbox does unless it is told otherwise."""
    return decode(incoming.raw)


class Inbox:
    """Messages from a broker: `payments = Inbox("payments", source)`, then `app.consume(payments)`.

    `@payments.message` marks the function that makes a command of a message, or None where it is no business of ours.
    Messages of a type that no function takes are acknowledged and left alone. `decode` reads what is no CloudEvent.
    `timeout`: a command that takes longer is stopped, and has failed; its id stays, so that it takes effect once.
    """

    def __init__(
        self, name: str, source: Source, *, decode: Decode = cloud_event, timeout: timedelta = TIMEOUT
    ) -> None:
        self.name, self.source, self.decode, self.timeout = name, source, decode, timeout
        self._declared: list[tuple[Any, Mapping[str, Any]]] = []

    def message(self, function: D) -> D:
        """Mark what takes the `IntegrationEvent` that is its first parameter; a second may be the whole message."""
        self._declared.append((function, local_names()))
        return function

    def read(self) -> Mapping[str, Accepted]:
        """Return what is taken, by the type of message. :raises TypeError: with what to write. :raises NameError:"""
        if not callable(getattr(self.source, "fetch", None)):
            raise TypeError(f"Inbox {self.name}: {self.source!r:.100} is no Source; write NatsSource(...)")
        if not (isinstance(self.timeout, timedelta) and self.timeout > timedelta()):
            raise TypeError(f"Inbox {self.name}: timeout={self.timeout!r}; write a timedelta above 0")
        found: dict[str, Accepted] = {}
        for function, names in self._declared:
            read = signature(function, names)
            if is_async(function):
                raise TypeError(f"{read.where}: it is async; what it does is to make a command of the message alone")
            taken = [one.annotation for one in read.parameters]
            if not 1 <= len(taken) <= 2 or any(one is not IntegrationMessage for one in taken[1:]):
                raise TypeError(f"{read.where}: write (event: YourMessage) or (event, message: IntegrationMessage)")
            event = taken[0]
            if not (isinstance(event, type) and issubclass(event, IntegrationEvent)):
                raise TypeError(
                    f"{read.where}: its first parameter is {name_of(event)}; write an IntegrationEvent of yours"
                )
            makes = [one for one in alternatives(read.returns) if one is not NoneType]
            if not all(isinstance(one, type) and issubclass(one, Command) for one in makes):
                raise TypeError(f"{read.where}: {read.returning}; annotate the Command it makes")
            if event.message_type() in found:
                raise TypeError(f"{read.where}: {event.message_type()} is taken by another function of {self.name}")
            found[event.message_type()] = Accepted(
                function, event, len(taken) == 2, tuple(one for one in makes if one is not Command)
            )
        if not found:
            raise TypeError(f"Inbox {self.name}: it takes nothing; mark a function with @{self.name}.message")
        return found
