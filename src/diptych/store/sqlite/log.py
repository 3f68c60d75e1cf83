"""Reads the log, many rows in one step of SQLite, each column of them as one text.

A thread that asks for the next row gives up Python's lock and may get it back only 5 ms later when others are busy:
a thousand rows one by one took 3 s beside a busy event loop; packed they take 12 ms, and no longer when it is idle.
Rule: every row is checked against its checksum, and every page against gaps, before anybody sees it.
"""

import struct
from collections.abc import Iterable, Sequence
from functools import partial
from json import dumps, loads
from typing import Any, Final
from uuid import UUID
from zlib import crc32

import apsw
from pydantic_core import from_json

from diptych.errors import CorruptedEventError, SkippedPositionsError, StoreCorruptedError
from diptych.events.recorded import StoredEvent, checksum, is_intact, pack_numbers
from diptych.store.protocols import CommandKey, Head, Page, StoredCommand
from diptych.stream import StreamName

PAGE_BYTES = 4 * 1024 * 1024  # of payload, in one page of the log
SCAN = 50_000  # positions that one filtered page looks at, at most
_STREAM_PAGE = 2000

_SEPARATOR = "\x1f"  # no stored text has one: see `limits.py`
_EVENT_ID = 16  # bytes
_NUMBERS = ("e.position", "e.version", "e.schema_version", "e.format", "e.recorded_at", "e.checksum")
_TEXTS = ("t.name", "e.payload", "e.metadata", "e.tenant")
_OWN_COLUMNS = ", ".join(
    ["group_concat(hex(e.event_id), '')"]
    + [f"""'[[' || {" || '],[' || ".join([f"group_concat({number})" for number in _NUMBERS])} || ']]'"""]
    + [f"group_concat({text}, char(31))" for text in _TEXTS]
)
_STREAM_COLUMNS = ", ".join(f"group_concat({text}, char(31))" for text in ("s.category", "s.stream_id"))
_HEAD = "SELECT concat_ws(char(31), position, hex(event_id), recorded_at) FROM events ORDER BY position DESC LIMIT 1"

_ALL = "SELECT position, octet_length(payload) AS bytes FROM events WHERE position > :after"
_OF_TYPES = f"""{_ALL} AND position <= :after + {SCAN}
    AND type IN (SELECT id FROM event_types WHERE name IN (SELECT value FROM json_each(:types)))"""  # noqa: S608
_PAGE = f"""
WITH matching AS MATERIALIZED ({{matching}} ORDER BY position LIMIT :limit),
     size AS MATERIALIZED (SELECT total(bytes) <= {PAGE_BYTES} OR count(*) <= 1 AS fits, count(*) AS n FROM matching)
SELECT (SELECT fits FROM size), (SELECT n FROM size), ({_HEAD}), {_OWN_COLUMNS}, {_STREAM_COLUMNS}
FROM (SELECT position AS p FROM matching WHERE (SELECT fits FROM size) ORDER BY position)
CROSS JOIN events e ON e.position = p CROSS JOIN streams s ON s.id = e.stream CROSS JOIN event_types t ON t.id = e.type
"""  # noqa: S608 - constants of this file
_PAGE_OF_ALL, _PAGE_OF_TYPES = _PAGE.format(matching=_ALL), _PAGE.format(matching=_OF_TYPES)

_WHICH = "FROM streams WHERE tenant = :tenant AND category = :category AND stream_id = :stream_id"
_STREAM = f"""
SELECT (SELECT version {_WHICH}), group_concat(e.payload, char(31)), group_concat(e.metadata, char(31)),
    json_group_array(json_array(e.position, e.tenant, e.version, hex(e.event_id), t.name, e.schema_version, e.format,
    e.recorded_at, e.checksum))
FROM (SELECT position AS p FROM events WHERE stream = (SELECT id {_WHICH}) AND version >= :first
      ORDER BY version LIMIT {_STREAM_PAGE})
CROSS JOIN events e ON e.position = p CROSS JOIN event_types t ON t.id = e.type
"""  # noqa: S608 - constants of this file

_COMMAND = """
SELECT hash, result, position, event_id, streams, event_types FROM commands
WHERE command_id = ? AND command_type = ? AND user_id = ? AND tenant = ?
"""
UNREADABLE: Final = (ValueError, TypeError, struct.error)
"""What reading a damaged row raises: bytes that are no text, fields that are missing, numbers out of range."""

_one_row = partial(tuple.__new__, StoredEvent)


def read_page(connection: apsw.Connection, after: int, types: frozenset[str] | None, limit: int) -> Page:
    """Return a page of the log, read under one snapshot with its head.

    :raises SkippedPositionsError: an unfiltered page has a gap. :raises CorruptedEventError: a row is damaged.
    """
    try:
        return _page(connection, after, types, limit)
    except UNREADABLE as error:
        raise CorruptedEventError(_first_unreadable(connection, after)) from error


def _page(connection: apsw.Connection, after: int, types: frozenset[str] | None, limit: int) -> Page:
    while True:
        bindings: dict[str, Any] = {"after": after, "limit": limit}
        if types is not None:
            bindings["types"] = dumps(sorted(types))
        found = connection.execute(_PAGE_OF_ALL if types is None else _PAGE_OF_TYPES, bindings).fetchone()
        assert found is not None
        fits, count, head = found[0], found[1], _head(found[2])
        if fits:
            break
        limit = max(limit // 2, 1)
    events = _unpack(found[3:9], [text.split(_SEPARATOR) for text in found[9:]]) if found[3] else []
    if len(events) != count:
        raise StoreCorruptedError(f"{count - len(events)} events after {after} have lost their stream or type.")
    if types is None:
        if not events and head.position > after:
            raise SkippedPositionsError(after, head.position)
        _check_contiguous(events, after)
        return Page(after, events[-1].position if events else after, events, head)
    is_full = len(events) >= limit
    scanned = events[-1].position if is_full else max(min(head.position, after + SCAN), after)
    return Page(after, scanned, events, head)


def _first_unreadable(connection: apsw.Connection, after: int) -> int:
    """Return the first position whose row is not even text and numbers."""
    while True:
        try:
            page = _page(connection, after, None, 1)
        except UNREADABLE:
            return after + 1
        if not page.events:
            return after
        after = page.scanned


def read_stream(connection: apsw.Connection, stream: StreamName, first: int) -> Sequence[StoredEvent]:
    """Return the events of a stream from a version on. :raises CorruptedEventError: :raises StoreCorruptedError:"""
    events: list[StoredEvent] = []
    first = max(first, 1)
    bindings: dict[str, Any] = {
        "tenant": stream.tenant,
        "category": stream.category,
        "stream_id": str(stream.id),
        "first": first,
    }
    while True:
        found = connection.execute(_STREAM, bindings).fetchone()
        if found is None or found[0] is None:
            return events
        page = _unpack_stream(stream.category, bindings["stream_id"], *found[1:]) if found[1] else []
        last = bindings["first"] + len(page) - 1
        if [event[4] for event in page] != list(range(bindings["first"], last + 1)) or (
            len(page) < _STREAM_PAGE and last < found[0]
        ):
            raise StoreCorruptedError(f"{stream}: events are missing before version {found[0]}. Restore a backup.")
        events.extend(page)
        if len(page) < _STREAM_PAGE:
            return events
        bindings["first"] = last + 1


def read_head(connection: apsw.Connection) -> Head:
    """The end of the log."""
    return _head(connection.execute(_HEAD).get)


def read_command(connection: apsw.Connection, key: CommandKey) -> StoredCommand | None:
    """What this command did the first time, if it took effect."""
    bindings = (key.command_id.bytes, key.command_type, key.user_id, key.tenant)
    try:
        found = connection.execute(_COMMAND, bindings).fetchone()
        if found is None:
            return None
        digest, result, position, event_id, streams, event_types = found
        versions = {StreamName(tenant, category, UUID(id)): version for tenant, category, id, version in loads(streams)}
        return StoredCommand(digest, result, position, event_id, versions, frozenset(loads(event_types)))
    except UNREADABLE as error:
        raise StoreCorruptedError(f"What command {key.command_id} did cannot be read ({error}).") from error


def _head(packed: str | None) -> Head:
    if packed is None:
        return Head()
    position, event_id, recorded_at = packed.split(_SEPARATOR)
    return Head(int(position), bytes.fromhex(event_id), int(recorded_at))


def _unpack(packed: Sequence[str], named: Sequence[Iterable[str]]) -> list[StoredEvent]:
    """Make rows of columns: each came as one text, but `named`, the category and the id."""
    joined = bytes.fromhex(packed[0])
    ids = [joined[start : start + _EVENT_ID] for start in range(0, len(joined), _EVENT_ID)]
    positions, versions, schemas, formats, times, checksums = from_json(packed[1])
    types, payloads, metadata, tenants = [text.split(_SEPARATOR) for text in packed[2:]]
    if not len(positions) == len(versions) == len(ids) == len(types) == len(payloads) == len(metadata) == len(tenants):
        raise ValueError("the columns of the rows are not equally many")
    columns = (versions, ids, types, schemas, formats, payloads, metadata, times, checksums)
    events = list(map(_one_row, zip(positions, tenants, *named, *columns, strict=False)))
    if list(map(checksum, events)) != checksums:
        raise CorruptedEventError(next(event[0] for event in events if not is_intact(event)))
    return events


def _unpack_stream(category: str, id: str, payloads: str, metadata: str, packed: str) -> list[StoredEvent]:
    """Make the rows of one stream, which leave out its name. Most often it is one: the newest of a cached aggregate.

    The checksum is that of `recorded.checksum`; what is the same in all rows goes into its text once.
    """
    events: list[StoredEvent] = []
    rest = from_json(packed, cache_strings="none")
    columns = zip(rest, payloads.split(_SEPARATOR), metadata.split(_SEPARATOR), strict=True)
    named = f"\0{category}\0{id}\0"
    for (position, tenant, version, hexed, type, schema, format, time, check), payload, beside in columns:
        event_id = bytes.fromhex(hexed)
        numbers = pack_numbers(position, time, version, schema, format) + event_id
        if crc32(f"{tenant}{named}{type}\0{beside}\0{payload}".encode(), crc32(numbers)) != check:
            raise CorruptedEventError(position)
        known = (position, tenant, category, id, version, event_id, type, schema, format, payload, beside, time, check)
        events.append(_one_row(known))
    return events


def _check_contiguous(events: Sequence[StoredEvent], after: int) -> None:
    for event in events:
        if event[0] != after + 1:
            raise SkippedPositionsError(after, event[0])
        after += 1
