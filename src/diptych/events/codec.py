"""Events to stored text and back, through a registry of names.

Rule: a stored name is looked up, never imported (I2).
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import call
from typing import Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from diptych.clock import new_id_bytes
from diptych.errors import (
    ConfigurationError,
    DecodeError,
    InvalidInputError,
    ProgrammingError,
    UnknownEventTypeError,
)
from diptych.events.recorded import KIND_SEPARATOR, NewEvent, RecordedEvent, StoredEvent, StoredMetadata, kind_of
from diptych.events.rows import kinds_of, payloads_of
from diptych.events.upcasting import Upcasters
from diptych.messages import DomainEvent, declared_events

Decoder: TypeAlias = Callable[[str], Any]


class _UnknownKindError(Exception):
    """This code has no class for rows of this kind. Never leaves this file."""


class Codec:
    """Encodes and decodes the events of one app.

    A name belongs to the class that the app's aggregates and projections use; any other is looked up among the
    classes defined in this process, and must be there exactly once.
    """

    def __init__(self, upcasters: Upcasters | None = None) -> None:
        self.upcasters = upcasters or Upcasters()
        self._classes: dict[str, type[DomainEvent]] = {}
        self._decoders = _Decoders(self._decoder)

    def register(self, cls: type[DomainEvent]) -> None:
        """Bind a class to its stored name. :raises ConfigurationError: another class of this app has the name."""
        known = self._classes.setdefault(cls.event_name, cls)
        if known is not cls:
            raise ConfigurationError(
                f"{_place(known)} and {_place(cls)} are both stored as {cls.event_name}. Give one an explicit name=."
            )

    def knows(self, name: str) -> bool:
        """Whether a class is stored under this name."""
        return self._class(name) is not None

    def newest(self, name: str) -> int | None:
        """Return the schema version that this code writes under a stored name; None if no class has it."""
        cls = self._class(name)
        return None if cls is None else cls.schema_version

    def names(self, classes: Iterable[type[DomainEvent]]) -> frozenset[str]:
        """Return the stored names of these classes."""
        return frozenset(cls.event_name for cls in classes)

    def encode(self, event: DomainEvent) -> NewEvent:
        """Write an event down. :raises InvalidInputError: its text holds NUL or a lone surrogate."""
        cls = type(event)
        if self._classes.get(cls.event_name) is not cls:
            self.register(cls)
        try:
            payload = cls.__pydantic_serializer__.to_json(event, by_alias=False, round_trip=True).decode()
        except (PydanticSerializationError, UnicodeError) as error:
            raise InvalidInputError(f"{cls.event_name} cannot be written down: {error}") from error
        if "\\u0000" in payload and _holds_nul(json.loads(payload)):
            raise InvalidInputError(f"{cls.event_name} holds a NUL character, which no store can keep. Remove it.")
        return NewEvent(new_id_bytes(), cls.event_name, cls.schema_version, payload)

    def verify(self, event: DomainEvent, written: NewEvent) -> None:
        """Read back what was written: for tests and development. :raises ProgrammingError: something was lost."""
        again: DomainEvent | str
        try:
            again = _validator(type(event))(written.payload)
        except ValidationError as error:
            again = f"an error ({_first_faults(error)})"
        if again != event:
            raise ProgrammingError(
                f"{event!r} is stored as {written.payload} and comes back as {again!s}. Use fields that JSON can hold: "
                "no SecretStr, no exclude=True, no serializer that leaves something out."
            )

    def decode(self, row: StoredEvent) -> DomainEvent:
        """Read an event.

        :raises UnknownEventTypeError: no class has this name, or the row is of a newer version.
        :raises DecodeError: the payload does not validate.
        :raises UpcastError: an old payload cannot be brought up to date.
        """
        try:
            event: DomainEvent = self._decoders[kind_of(row)](row[9])
        except ValidationError as error:
            raise DecodeError(row.type, row.schema_version, row.position, _first_faults(error)) from error
        except _UnknownKindError as error:
            raise UnknownEventTypeError(row.type, row.schema_version, row.position) from error
        return event

    def decode_each(self, rows: Sequence[StoredEvent]) -> Iterator[DomainEvent]:
        """Read events one after the other, as `decode` does; kept all at once, each takes twice as long to make."""
        decoders = map(self._decoders.__getitem__, kinds_of(rows))
        try:
            yield from map(call, decoders, payloads_of(rows))  # a loop in C
        except (ValidationError, _UnknownKindError):
            for row in rows:
                self.decode(row)  # raises what names the row
            raise

    def reading(self, rows: Sequence[StoredEvent]) -> Callable[[int], DomainEvent]:
        """Return what reads the event of the row with an index, as `decode` does."""
        kinds, payloads, decoders, decode = kinds_of(rows), payloads_of(rows), self._decoders, self.decode

        def read(index: int) -> Any:
            try:
                return decoders[kinds[index]](payloads[index])
            except (ValidationError, _UnknownKindError):
                return decode(rows[index])  # raises what names the row

        return read

    def recorded(self, row: StoredEvent) -> RecordedEvent:
        """Read an event together with what was written beside it."""
        return RecordedEvent(self.decode(row), StoredMetadata(row), row)

    def _class(self, name: str) -> type[DomainEvent] | None:
        known = self._classes.get(name)
        if known is not None:
            return known
        named = [cls for cls in declared_events() if cls.event_name == name]
        if len(named) > 1:
            named = [cls for cls in named if _is_current(cls)] or named
        if len(named) > 1:
            places = ", ".join(sorted(_place(cls) for cls in named))
            raise ConfigurationError(f"{name} is the stored name of {places}. Give all but one an explicit name=.")
        if named:
            self._classes[name] = named[0]
            return named[0]
        return None

    def _decoder(self, kind: str) -> Decoder:
        name, schema_version, format = kind.split(KIND_SEPARATOR)
        cls, found = self._class(name), int(schema_version)
        if cls is None or format != "0" or found > cls.schema_version:
            raise _UnknownKindError
        validate, wanted = _validator(cls), cls.schema_version

        def upcast(payload: str) -> Any:
            return validate(json.dumps(self.upcasters.bring_up(name, found, wanted, json.loads(payload))))

        return validate if found == wanted else upcast


class _Decoders(dict[str, Decoder]):
    """What decodes each kind of row, found out when the first one is met."""

    def __init__(self, find: Callable[[str], Decoder]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, kind: str) -> Decoder:
        decoder = self[kind] = self._find(kind)
        return decoder


def _validator(cls: type[DomainEvent]) -> Callable[[str], Any]:
    """Return what reads a payload: by the names of fields, for aliases belong to the web and may change with it."""
    validate: Callable[..., Any] = cls.__pydantic_validator__.validate_json
    has_aliases = "alias" in repr(cls.__pydantic_core_schema__)  # without, a fifth of the time is saved
    return partial(validate, by_alias=False, by_name=True) if has_aliases else validate


def _first_faults(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'payload'}: {e['msg']}" for e in error.errors()[:3])


def _is_current(cls: type) -> bool:
    """Whether a class is what its module still calls by its name: not redefined, and not local to a function."""
    return getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is cls


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_holds_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_holds_nul(part) for part in value)
