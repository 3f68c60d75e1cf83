"""A command takes effect once: what is remembered of it, and how a repetition gets the first answer (C1, C2)."""

from functools import cache
from hashlib import blake2b
from typing import Any
from warnings import catch_warnings, simplefilter

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from diptych.errors import CommandIdReusedError, DataError, InvalidInputError, ProgrammingError
from diptych.handlers import name_of
from diptych.messages import Command, Envelope, Receipt, result_type
from diptych.store.protocols import CommandKey, CommandRecord, StoredCommand


def key_of(command: Command[Any], envelope: Envelope) -> CommandKey:
    """Under this key it takes effect once: unique per tenant, user and command type."""
    return CommandKey(envelope.tenant, envelope.user_id or "", type(command).__name__, envelope.command_id)


def fingerprint(command: Command[Any]) -> bytes:
    """Hash the fields the caller gave, in the order of their declaration; never defaults, never the envelope."""
    serializer = command.__pydantic_serializer__
    try:
        if _has_sets(type(command)):
            plain = serializer.to_python(command, exclude_unset=True, by_alias=False, round_trip=True)
            given = to_json(_ordered(plain))
        else:
            given = serializer.to_json(command, exclude_unset=True, by_alias=False, round_trip=True)
    except (PydanticSerializationError, UnicodeError) as error:
        raise InvalidInputError(f"{type(command).__name__} cannot be written down: {error}") from error
    return blake2b(given, digest_size=16).digest()


def record_of(command: Command[Any], envelope: Envelope, result: Any) -> CommandRecord:
    """Make what is stored with the command's events. :raises ProgrammingError: its result is not what it declares."""
    return CommandRecord(key_of(command, envelope), fingerprint(command), _dump(type(command), result))


def replayed(command: Command[Any], envelope: Envelope, stored: StoredCommand) -> Receipt[Any]:
    """Give the first answer again. :raises CommandIdReusedError: the caller gave other fields then."""
    if stored.hash != fingerprint(command):
        raise CommandIdReusedError(type(command).__name__, envelope.command_id)
    return Receipt(
        result=_load(type(command), stored.result),
        position=stored.position,
        event_id=stored.event_id,
        streams=stored.streams,
        command_id=envelope.command_id,
        event_types=stored.event_types,
        is_replay=True,
    )


@cache
def _has_sets(command: type[Command[Any]]) -> bool:
    schema = repr(command.__pydantic_core_schema__)
    return "'type': 'set'" in schema or "'type': 'frozenset'" in schema


def _ordered(value: Any) -> Any:
    """Return data with each set as a sorted list: the order of a set is another one in another process."""
    if isinstance(value, dict):
        return {name: _ordered(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_ordered(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted((_ordered(part) for part in value), key=to_json)
    return value


@cache
def _adapter(command: type[Command[Any]]) -> TypeAdapter[Any]:
    return TypeAdapter(result_type(command))


@cache
def _returns_nothing(command: type[Command[Any]]) -> bool:
    return result_type(command) in (None, type(None))


def _load(command: type[Command[Any]], stored: str) -> Any:
    try:
        return _adapter(command).validate_json(stored, by_alias=False, by_name=True)
    except ValidationError as error:
        raise DataError(
            f"The result of an earlier {command.__name__} is {stored[:200]}, which is no {result_type(command)} of "
            "today. It took effect then; keep reading old results when the type of a result changes."
        ) from error


def _dump(command: type[Command[Any]], result: Any) -> str:
    if result is None and _returns_nothing(command):
        return "null"
    adapter = _adapter(command)
    try:
        if result is None:
            adapter.validate_python(None)  # pydantic writes it for any type, and would not read it again
        with catch_warnings():
            simplefilter("error")
            return adapter.dump_json(result, by_alias=False, round_trip=True, warnings="error").decode()
    except (PydanticSerializationError, UserWarning, ValidationError) as error:
        raise ProgrammingError(
            f"The handler of {command.__name__} returned {result!r}, but {command.__name__} declares "
            f"{name_of(result_type(command))}. Nothing was stored. Correct the handler, or write Command[...]."
        ) from error
