"""What an append may be, judged before it is queued, so that no store ever sees what it cannot keep (I1).

Rule: every backend calls `check_append`, so that all refuse the same.
"""

import re
from functools import lru_cache

from diptych.errors import InvalidInputError, ProgrammingError
from diptych.events.recorded import ROW_SEPARATOR, SEPARATOR, NewEvent
from diptych.store.protocols import Append, CommandRecord, StoreLimits

_NAME_LENGTH = 200
_EVENT_ID = 16
_LARGEST = 2**31
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def check_append(append: Append, limits: StoreLimits) -> None:
    """Refuse what can never be stored. :raises InvalidInputError: and nothing is queued."""
    count = 0
    for write in append.writes:
        tenant, category, _ = write.stream
        check_name(category)
        if tenant:
            check_name(tenant)
        count += len(write.events)
        for event in write.events:
            _check_event(event, limits)
    if count > limits.events_per_append:
        raise InvalidInputError(
            f"An append of {count} events is over the limit of {limits.events_per_append}. Send several smaller ones."
        )
    if len(append.writes) > 1 and len({write.stream for write in append.writes}) < len(append.writes):
        raise ProgrammingError("One append names a stream twice. Put all its events into one StreamWrite.")
    _check_text(append.metadata, "metadata", limits.event_bytes)
    if append.command is not None:
        _check_command(append.command, limits)


@lru_cache(maxsize=4096)
def check_name(name: str) -> None:
    """Refuse a tenant, category or type that is empty, over 200 characters, or has control characters."""
    if not name or len(name) > _NAME_LENGTH or any(character < " " for character in name) or not _is_unicode(name):
        raise InvalidInputError(
            f"{name[:50]!r} cannot be a name in the store. "
            f"Use 1 to {_NAME_LENGTH} characters, no control characters, no lone surrogates."
        )


def _check_event(event: NewEvent, limits: StoreLimits) -> None:
    check_name(event[1])
    if len(event[0]) != _EVENT_ID or not 0 < event[2] <= _LARGEST or not 0 <= event[4] <= _LARGEST:
        raise ProgrammingError(
            f"{event[1]}: an event has an id of {_EVENT_ID} bytes, a schema version from 1 and a format from 0, "
            f"not {event[0]!r}, {event[2]} and {event[4]}."
        )
    _check_text(event[3], event[1], limits.event_bytes)


def _check_command(command: CommandRecord, limits: StoreLimits) -> None:
    check_name(command.key.command_type)
    if command.key.tenant:
        check_name(command.key.tenant)
    _check_text(command.key.user_id, "the user's id", 1000)
    _check_text(command.result, "the handler's result", limits.event_bytes)


def _check_text(text: str, what: str, limit: int) -> None:
    is_ascii = text.isascii()
    if len(text) > limit or (not is_ascii and len(text) * 4 > limit and len(text.encode(errors="replace")) > limit):
        raise InvalidInputError(f"{what}: {len(text):,} characters are over the limit of {limit:,} bytes. Send less.")
    if "\0" in text or SEPARATOR in text or ROW_SEPARATOR in text or ("\\u0000" in text and _ESCAPED_NUL.search(text)):
        raise InvalidInputError(f"{what} has a NUL or another control character that stores cannot keep. Remove it.")
    if not is_ascii and not _is_unicode(text):
        raise InvalidInputError(f"{what} has half of a surrogate pair, which is no character. Remove it.")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
