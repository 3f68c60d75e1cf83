"""Finds streams and events by what people have at hand: a name, an id, a position, a time, a token.

Rule: the log has no index of event ids and of conversations; what is searched is said, and bounded.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from diptych.errors import InvalidInputError, NotFoundError, OtherHistoryError
from diptych.events.recorded import StoredEvent, from_microseconds, to_microseconds
from diptych.store.outside import OutsideLog
from diptych.stream import StreamName, read_token

_UUID: Final = re.compile(r"(?:(?P<category>.+)-)?(?P<id>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})")
_CLOCKS: Final = 60_000_000  # microseconds that the clocks of writers and of the store may be apart
_LATE: Final = 600_000_000  # microseconds that an event may have waited for its append
_PAGE: Final = 2000


class Asked(NamedTuple):
    """A stream as somebody names it; what was not said is None."""

    tenant: str | None
    category: str | None
    id: UUID

    def fits(self, stream: StreamName) -> bool:
        """Whether it may be meant; the case of letters does not matter."""
        return (self.tenant is None or self.tenant == stream.tenant) and (
            self.category is None or self.category.casefold() == stream.category.casefold()
        )


def asked(text: str) -> Asked:
    """Read `order/UUID`, `tenant/order/UUID`, a bare UUID, or a stream as messages name it: `Order-UUID`.

    :raises InvalidInputError: it is none of these.
    """
    *before, last = text.strip().split("/")
    found = _UUID.fullmatch(last)
    if found is None or len(before) > 2 or (len(before) == 2 and found["category"]):
        raise InvalidInputError(f"{text!r} names no stream. Write order/UUID, tenant/order/UUID, or the UUID alone.")
    names = [*before, found["category"]] if found["category"] else before
    return Asked(names[0] if len(names) == 2 else None, names[-1] if names else None, UUID(found["id"]))


async def stream_named(log: OutsideLog, text: str, verb: str) -> StreamName:
    """Return the one stream that is meant. `verb` is the command line to show when several are.

    :raises NotFoundError: there is none. :raises InvalidInputError: there are several.
    """
    wanted = asked(text)
    known = await log.streams_of(wanted.id)
    fitting = [stream for stream in known if wanted.fits(stream)]
    exact = [stream for stream in fitting if wanted.category == stream.category] or fitting
    if len(exact) == 1:
        return exact[0]
    if exact:
        lines = "".join(f"\n  {verb} {_spelt(stream)}" for stream in exact)
        raise InvalidInputError(f"{text} may be {len(exact)} streams. Say which:{lines}")
    others = f" There is {', '.join(_spelt(stream) for stream in known)}." if known else ""
    raise NotFoundError(f"{log.place} has no stream {text}.{others}")


def _spelt(stream: StreamName) -> str:
    return "/".join(filter(None, (stream.tenant, stream.category, str(stream.id))))


def until(rows: Sequence[StoredEvent], at: str | None) -> Sequence[StoredEvent]:
    """Return the events of a stream up to a version (`3`) or a time (`2026-11-23T10:00Z`); all without one.

    :raises InvalidInputError: it is neither, or before the first event.
    """
    if at is None or not rows:
        return rows
    if at.isdecimal():
        found = rows[: int(at)]
    else:
        end = to_microseconds(time_of(at))
        found = [row for row in rows if row.recorded_at <= end]
    if not found:
        first = from_microseconds(rows[0].recorded_at).isoformat()
        raise InvalidInputError(f"At {at} there was nothing of it yet: its first event is version 1, of {first}.")
    return found


def time_of(text: str) -> datetime:
    """Read a time with its zone. :raises InvalidInputError: it is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(f"{text!r} is no time. Write it like 2026-11-23T10:00Z.") from None
    if at.tzinfo is None:
        raise InvalidInputError(f"{text} may be any of several times. Say in which zone: {text}Z, or {text}+01:00.")
    return at


async def event_at(log: OutsideLog, position: int) -> StoredEvent:
    """Return the event at a position. :raises NotFoundError: the log does not reach it."""
    head = (await log.head()).position
    if not 1 <= position <= head:
        raise NotFoundError(f"{log.place} has no event at position {position}: it has positions 1 to {head}.")
    return (await log.read_log(after=position - 1, limit=1)).events[0]


async def event_of_token(log: OutsideLog, token: str) -> StoredEvent:
    """Return the event that a `Diptych-Position` stands for.

    :raises InvalidInputError: it is none. :raises OtherHistoryError: another event is there now.
    """
    try:
        position, tail = read_token(token)
    except InvalidInputError as error:
        raise InvalidInputError(f"{token!r} is no position, no id and no Diptych-Position.") from error
    found = await event_at(log, position)
    if found.event_id[8:] != tail:
        raise OtherHistoryError(f"The token {token}", position)
    return found


async def event_with_id(log: OutsideLog, id: UUID) -> StoredEvent | None:
    """Return the event with this id, or None: its id says when it was made, and events are in order of time."""
    if id.version != 7:
        return None
    made = (id.int >> 80) * 1000
    after = await position_before(log, made - _CLOCKS)
    while rows := (await log.read_log(after=after, limit=_PAGE)).events:
        for row in rows:
            if row.event_id == id.bytes:
                return row
        if rows[-1].recorded_at > made + _LATE:
            return None
        after = rows[-1].position
    return None


async def position_before(log: OutsideLog, time: int) -> int:
    """Return the last position that was recorded before a time, in microseconds; 0 if none was."""
    low, high = 0, (await log.head()).position
    while low < high:
        middle = (low + high + 1) // 2
        if (await event_at(log, middle)).recorded_at < time:
            low = middle
        else:
            high = middle - 1
    return low
