"""What an application is made of, as it is once it was imported.

Rule: plain frozen values that travel as JSON; no class or function of the application is in here.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Schema = Mapping[str, Any]
"""JSON Schema of one field, with every reference put in its place."""


class Spot(NamedTuple):
    """Where a class or function was written: the file from the project's root, and its qualified name there."""

    path: str
    line: int
    name: str
    module: str  # dotted, as it was imported

    @property
    def dotted(self) -> str:
        """Its name from everywhere."""
        return f"{self.module}.{self.name}"


class EventField(NamedTuple):
    """One field of an event. `stored` is what is written, `read` what is accepted when it is read back."""

    stored: Schema
    read: Schema
    is_required: bool


class EventFact(NamedTuple):
    """An event class. `is_base` when others inherit from it and nothing takes it: it is never stored itself."""

    stored_name: str
    version: int
    spot: Spot
    fields: Mapping[str, EventField]
    is_closed: bool  # it refuses fields that it does not know
    is_base: bool
    is_inert: bool


class MessageFact(NamedTuple):
    """A command or query class. `handlers` are those of the app; `elsewhere` those that the app does not include."""

    kind: Literal["command", "query"]
    spot: Spot
    handlers: tuple[Spot, ...]
    elsewhere: tuple[Spot, ...]
    is_base: bool


class AggregateFact(NamedTuple):
    """An aggregate class, the classes it inherits from, and the event classes it has an `@on` for, by dotted name."""

    spot: Spot
    bases: tuple[str, ...]
    events: tuple[str, ...]


class ProjectionFact(NamedTuple):
    """A projection class; `takes` are stored names. One that no app includes takes nothing."""

    spot: Spot
    is_included: bool
    takes: tuple[str, ...]
    owns: tuple[str, ...]  # tables of its read models


class ReadModelFact(NamedTuple):
    """A read model class."""

    table: str
    spot: Spot
    is_base: bool


class UpcastFact(NamedTuple):
    """A step from one version of a stored name to the next."""

    stored_name: str
    from_version: int
    spot: Spot


class Facts(NamedTuple):
    """All of it. `files` are the project's that were imported; `answered` the errors that somebody turns into answers.

    `at` is the file the app was found in, and the name it has there. `events_lock` is the text of the events.lock
    that belongs to it, empty where there is none.
    """

    at: Spot
    has_api: bool
    events: tuple[EventFact, ...]
    messages: tuple[MessageFact, ...]
    aggregates: tuple[AggregateFact, ...]
    projections: tuple[ProjectionFact, ...]
    read_models: tuple[ReadModelFact, ...]
    upcasters: tuple[UpcastFact, ...]
    answered: tuple[str, ...]
    files: tuple[str, ...]
    problems: tuple[str, ...]  # what a start would refuse; with one of them, what is missing here may be there
    events_lock: str = ""


class Fault(NamedTuple):
    """Why there are no facts, in a sentence. `is_absent`: there is no app to look at."""

    message: str
    is_absent: bool = False
