"""Finds events by what is known of them: type, stream, time, user, conversation, a text of the payload.

Rule: none of these has an index. The newest events are looked at first, a piece at a time; how far is said.
"""

import json
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from diptych.app.finding import asked, event_at, position_before
from diptych.errors import InvalidInputError
from diptych.events.recorded import StoredEvent, StoredMetadata
from diptych.store.outside import OutsideLog, Sought

CHUNK: Final = 10_000  # positions looked through in one statement


class Wanted(NamedTuple):
    """What the events have in common; what is left out does not matter. Times are microseconds, both included.

    `stream` is a stream as `finding.asked` reads it, or a category. `conversation` is a correlation id or the id of
    the command that began it. `text` is a piece of the payload as it is stored.
    """

    types: Sequence[str] = ()
    stream: str = ""
    conversation: UUID | None = None
    user: str | None = None
    text: str = ""
    since: int | None = None
    until: int | None = None


class Bounds(NamedTuple):
    """How much is wanted: so many events at most, of so many positions."""

    events: int = 100
    positions: int = 1_000_000
    chunk: int = CHUNK


class FoundEvents(NamedTuple):
    """Events, the newest first. `scanned` is the piece of the log that was looked through; empty if it ends before."""

    events: Sequence[StoredEvent]
    scanned: tuple[int, int]
    head: int
    is_all: bool  # looking further would find nothing more


async def search(
    log: OutsideLog, wanted: Wanted, bounds: Bounds, tell: Callable[[int, int], None] = lambda done, of: None
) -> FoundEvents:
    """Look for events. `tell` is told between two pieces how many positions were looked at, of how many at most.

    :raises InvalidInputError: the stream names none, or a text cannot be stored and so cannot be found.
    """
    sought = _sought(wanted)
    head = (await log.head()).position
    end = head if wanted.until is None else await position_before(log, wanted.until + 1)
    first = 0 if wanted.since is None else await position_before(log, wanted.since)
    low = max(first, end - bounds.positions)
    found, start = list[StoredEvent](), end
    while start > low and len(found) < bounds.events:
        if start < end:
            tell(end - start, end - low)
        through, start = start, max(start - bounds.chunk, low)
        for position in await log.positions(sought, after=start, through=through):
            row = await event_at(log, position)
            if _is_wanted(row, wanted):
                found.append(row)
            if len(found) == bounds.events:
                start = position - 1
                break
    return FoundEvents(found, (start + 1, end), head, start <= first)


def _sought(wanted: Wanted) -> Sought:
    for text in (*wanted.types, wanted.stream, wanted.user or "", wanted.text):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidInputError(f"{text!r} is no text in UTF-8, so it is in no event.") from error
    tenant, category, id = None, wanted.stream or None, None
    if "-" in wanted.stream or "/" in wanted.stream:
        tenant, category, id = asked(wanted.stream)
    beside = [str(wanted.conversation)] if wanted.conversation is not None else []
    if wanted.user is not None:
        beside.append(json.dumps(wanted.user))
    return Sought(wanted.types, tenant, category, id, beside, wanted.text)


def _is_wanted(row: StoredEvent, wanted: Wanted) -> bool:
    """Look at what is beside an event more closely: a store only said that the text is there, somewhere."""
    meta = StoredMetadata(row)
    is_of_user = wanted.user is None or meta.user_id == wanted.user
    return is_of_user and (wanted.conversation is None or meta.correlation_id == wanted.conversation)
