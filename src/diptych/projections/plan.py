"""What a projection class says, compiled: which methods an event calls, with which rows.

Rule: plain data; reading annotations is `definition.py`, running it `fold.py`.
"""

from collections.abc import Callable, Coroutine, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from diptych.events.recorded import StoredEvent
from diptych.handlers import where
from diptych.messages import DomainEvent, Metadata
from diptych.projections.keys import RowKeys
from diptych.store.batches import ProjectionTables

Mode: TypeAlias = Literal["async", "inline"]
Find: TypeAlias = Callable[[StoredEvent, DomainEvent, Metadata | None], Hashable]
"""Returns the comparable key of the row an event is about."""


class Lookup(NamedTuple):
    """A parameter filled with the row of an own table whose key is a field (or fields) of the event."""

    sheet: int
    find: Find
    is_optional: bool
    parameter: str


class Each(NamedTuple):
    """The method is called for every row whose column has this value."""

    column: str
    find: Find


@dataclass(slots=True)
class Handler:
    """One method: for one event it reads a row of sheet `source` (-1: none) and writes to sheet `target`.

    `call` takes row, event, metadata and looked-up rows, and passes those on that the method asks for.
    """

    call: Callable[[Any, Any, Any, tuple[Any, ...]], Any]
    where: str
    name: str
    events: tuple[type[DomainEvent], ...]
    model: type
    source: int
    target: int
    find: Find | None
    each: Each | None = None
    lookups: tuple[Lookup, ...] = ()
    is_row_optional: bool = False
    is_none_allowed: bool = False
    is_sequence: bool = False
    needs_meta: bool = False
    is_by_stream: bool = False
    is_plain: bool = False  # one row, found by one key, in and out or only out
    is_isolated: bool = False  # it touches no row but that of the event's own stream
    change: Callable[[Any, Any], Any] | None = None  # the method itself, when it takes (row, event) of its own stream


class Script(NamedTuple):
    """A projection's own `handle(event, db)`: `call` takes event, metadata and db."""

    call: Callable[[Any, Any, Any], Coroutine[Any, Any, None]]
    where: str


class Definition(NamedTuple):
    """A projection class, compiled once.

    `handlers` is by stored event name; `takes` holds the names this projection acts on. Isolated means that a failing
    stream can be put aside while all others go on.
    """

    name: str
    mode: Mode
    tables: ProjectionTables
    sheets: tuple[RowKeys, ...]
    events: tuple[type[DomainEvent], ...]
    takes: frozenset[str]
    handlers: Mapping[str, tuple[Handler, ...]]
    watched: tuple[tuple[str, ...], ...]  # per sheet, the columns that `each` looks for
    script: Script | None
    is_isolated: bool
    projection: type[Any]

    @property
    def where(self) -> str:
        """Where it was written; for messages only, as it takes milliseconds to find out."""
        return where(self.projection)
