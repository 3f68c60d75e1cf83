"""Reads the log, many rows in one step of SQLite, all of them as one text.

A thread that asks for the next row gives up Python's lock and may get it back only 5 ms later when others are busy:
a thousand rows one by one took 3 s beside a busy event loop; packed they take 12 ms, and no longer when it is idle.
Rule: every row is checked against its checksum, and every page against gaps, before anybody sees it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from json import dumps, loads
from typing import Any, Final
from uuid import UUID

import apsw

from diptych.errors import CorruptedEventError, SkippedPositionsError, StoreCorruptedError
from diptych.events.recorded import SEPARATOR, StoredEvent
from diptych.events.rows import NO_ROWS, StoredRows, unpack, unpack_whole
from diptych.store.protocols import CommandKey, Head, Page, StoredCommand
from diptych.stream import SLICES, StreamName

PAGE_BYTES = 4 * 1024 * 1024  # of payload, in one page of the log
SCAN = 50_000  # positions that one filtered page looks at, at most
_STREAM_PAGE = 2000

_KIND = "t.name || char(29) || e.schema_version || char(29) || e.format"
FIELDS = f"""hex(e.event_id), e.tenant, s.category, s.stream_id, {_KIND}, e.metadata, e.payload,
    e.position, e.version, e.recorded_at"""  # a row's text: see `recorded.text_of`
_TEXTS = f"CAST(group_concat(concat_ws(char(31), {FIELDS}), char(30)) AS BLOB)"
_ROWS = f"{_TEXTS}, group_concat(e.checksum, ', ')"
_NAMES = "CROSS JOIN streams s ON s.id = e.stream CROSS JOIN event_types t ON t.id = e.type"
_HEAD = "SELECT concat_ws(char(31), position, hex(event_id), recorded_at) FROM events ORDER BY position DESC LIMIT 1"

_ALL = "SELECT position, octet_length(payload) AS bytes FROM events WHERE position > :after"
_OF_TYPES = f"""{_ALL} AND position <= :after + {SCAN}
    AND type IN (SELECT id FROM event_types WHERE name IN (SELECT value FROM json_each(:types)))"""  # noqa: S608
_IN_SLICES = f"{_ALL} AND position <= :after + :scan AND slice BETWEEN :first AND :last"
_PAGE = f"""
WITH matching AS MATERIALIZED ({{matching}} ORDER BY position LIMIT :limit),
     size AS MATERIALIZED (SELECT total(bytes) <= {PAGE_BYTES} OR count(*) <= 1 AS fits, count(*) AS n FROM matching)
     {{till}}
SELECT (SELECT fits FROM size), (SELECT n FROM size), ({_HEAD}),
    (SELECT event_id FROM events WHERE position = :after), {_ROWS} {{beside}}
FROM (SELECT position AS p FROM matching WHERE (SELECT fits FROM size) ORDER BY position)
CROSS JOIN events e ON e.position = p {_NAMES}
"""  # noqa: S608 - constants of this file
_PAGE_OF_ALL = _PAGE.format(matching=_ALL, till="", beside="")
_PAGE_OF_TYPES = _PAGE.format(matching=_OF_TYPES, till="", beside="")
_PAGE_OF_SLICES = _PAGE.format(
    matching=_IN_SLICES,
    till=""", till AS MATERIALIZED (SELECT max(position) AS p FROM events WHERE position <= CASE
        WHEN (SELECT n FROM size) >= :limit THEN (SELECT max(position) FROM matching) ELSE :after + :scan END)""",
    beside=""", (SELECT concat_ws(char(31), position, hex(event_id), recorded_at) FROM events
        WHERE position = (SELECT p FROM till)),
    (SELECT count(*) FROM events WHERE position > :after AND position <= (SELECT p FROM till))""",
)
_GAP = """
SELECT before, position FROM (
    SELECT position, lag(position, 1, :after) OVER (ORDER BY position) AS before FROM events WHERE position > :after)
WHERE position <> before + 1 LIMIT 1
"""

_WHICH = "FROM streams WHERE tenant = :tenant AND category = :category AND stream_id = :stream_id"
_NEXT_KIND = "FROM streams WHERE (tenant, category) > (k.tenant, k.category) ORDER BY tenant, category LIMIT 1"
_STREAMS = f"""
    WITH RECURSIVE kinds (tenant, category) AS (
        SELECT * FROM (SELECT tenant, category FROM streams ORDER BY tenant, category LIMIT 1)
        UNION ALL
        SELECT (SELECT tenant {_NEXT_KIND}), (SELECT category {_NEXT_KIND}) FROM kinds k WHERE k.tenant IS NOT NULL)
    SELECT s.tenant, s.category FROM kinds k CROSS JOIN streams s
    WHERE s.tenant = k.tenant AND s.category = k.category AND s.stream_id = ? ORDER BY 1, 2
"""  # noqa: S608 - by the one index there is, which begins with those two
_IN_STREAM = f"""
FROM (SELECT position AS p FROM events WHERE stream = (SELECT id {_WHICH}) AND version >= :first
      ORDER BY version LIMIT {_STREAM_PAGE})
CROSS JOIN events e ON e.position = p {_NAMES}
"""  # noqa: S608 - constants of this file
_STREAM = f"SELECT (SELECT version {_WHICH}), {_ROWS} {_IN_STREAM}"
_WHOLE_STREAM = f"SELECT (SELECT version {_WHICH}), {_TEXTS}, max(e.version), e.chain {_IN_STREAM}"  # that row's chain

_COMMAND = """
SELECT hash, result, position, event_id, streams, event_types FROM commands
WHERE command_id = ? AND command_type = ? AND user_id = ? AND tenant = ?
"""
UNREADABLE: Final = (ValueError, TypeError)
"""What reading a damaged row raises: bytes that are no text, fields that are missing, numbers out of range."""


@cache
def keep_freed_memory() -> None:
    """Have glibc keep what pages of the log free, up to 8 MB, for the next page.

    Once a block of this size was freed, it no longer gives freed memory back to the system each time and takes it
    again, page fault by page fault: a seventh of all reading (mallopt(3), M_MMAP_THRESHOLD). Nothing touches the block.
    """
    bytes(4 * 1024 * 1024)


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
        fits, count, head, before = found[0], found[1], _head(found[2]), found[3] or b""
        if fits:
            break
        limit = max(limit // 2, 1)
    events = _rows(*found[4:])
    if len(events) != count:
        raise StoreCorruptedError(f"{count - len(events)} events after {after} have lost their stream or type.")
    if types is None:
        if not events and head.position > after:
            raise SkippedPositionsError(after, head.position)
        _check_contiguous(events, after)
        return Page(after, after + len(events), events, head, before)
    is_full = len(events) >= limit
    scanned = events[-1].position if is_full else max(min(head.position, after + SCAN), after)
    return Page(after, scanned, events, head, before)


def read_slices(connection: apsw.Connection, after: int, slices: range, limit: int) -> Page:
    """Return a page of events in some slices, read under one snapshot with its head and its end.

    :raises SkippedPositionsError: the page, or what it leaves out, has a gap. :raises CorruptedEventError:
    """
    try:
        return _sliced(connection, after, slices, limit)
    except UNREADABLE as error:
        raise CorruptedEventError(_first_unreadable(connection, after)) from error


def _sliced(connection: apsw.Connection, after: int, slices: range, limit: int) -> Page:
    while True:
        scan = min(limit * SLICES // len(slices), SCAN)
        bindings = {"after": after, "limit": limit, "first": slices[0], "last": slices[-1], "scan": scan}
        found: Any = connection.execute(_PAGE_OF_SLICES, bindings).fetchone()
        fits, count, head, before, packed, checksums, last, passed = found
        if fits:
            break
        limit = max(limit // 2, 1)
    page = Page(after, after, _rows(packed, checksums), _head(head), before or b"", _head(last))
    if len(page.events) != count:
        raise StoreCorruptedError(f"{count - len(page.events)} events after {after} have lost their stream or type.")
    page = page._replace(scanned=max(page.last.position, after))
    if passed != page.scanned - after or (not passed and page.head.position > after):
        gap: Any = connection.execute(_GAP, {"after": after}).fetchone()
        raise SkippedPositionsError(*gap)
    return page


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


def read_streams_of(connection: apsw.Connection, id: UUID) -> list[StreamName]:
    """Return all streams with this id."""
    rows: list[Any] = connection.execute(_STREAMS, (str(id),)).fetchall()
    return [StreamName(tenant, category, id) for tenant, category in rows]


def read_stream(connection: apsw.Connection, stream: StreamName, first: int) -> Sequence[StoredEvent]:
    """Return the events of a stream from a version on. :raises CorruptedEventError: :raises StoreCorruptedError:"""
    which: dict[str, Any] = {"tenant": stream.tenant, "category": stream.category, "stream_id": str(stream.id)}
    if first > 1:
        return _read_each(connection, stream, which, first)
    whole = _read_whole(connection, which)
    if whole is None:
        _read_each(connection, stream, which, 1)  # says which one is damaged
        raise StoreCorruptedError(f"{stream}: its events are not those that were written. Restore a backup.")
    return whole


def _read_whole(connection: apsw.Connection, which: Mapping[str, Any]) -> StoredRows | None:
    """Return all events of a stream, checked at once; None when something is wrong with them."""
    read, chain = NO_ROWS, None
    while True:
        found = connection.execute(_WHOLE_STREAM, {**which, "first": len(read) + 1}).fetchone()
        if found is None or found[0] is None:
            return NO_ROWS
        known, packed, last, now = found
        if packed is None:
            return read if len(read) == known else None
        page = unpack_whole(packed, chain, now)
        if page is None:
            return None
        read, chain = read + page if read else page, now
        if len(read) != last:
            return None
        if len(page) < _STREAM_PAGE:
            return read if last == known else None


def _read_each(connection: apsw.Connection, stream: StreamName, which: Mapping[str, Any], first: int) -> StoredRows:
    """Return the events of a stream from a version on, each checked for itself."""
    read = NO_ROWS
    while True:
        found = connection.execute(_STREAM, {**which, "first": first}).fetchone()
        if found is None or found[0] is None:
            return read
        page = _rows(*found[1:])
        last = first + len(page) - 1
        is_all = len(page) < _STREAM_PAGE
        if not page.have_versions_from(first) or (is_all and last < found[0]):
            raise StoreCorruptedError(f"{stream}: events are missing before version {found[0]}. Restore a backup.")
        read = read + page if read else page
        if is_all:
            return read
        first = last + 1


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
    position, event_id, recorded_at = packed.split(SEPARATOR)
    return Head(int(position), bytes.fromhex(event_id), int(recorded_at))


def _rows(packed: bytes | None, checksums: str | None) -> StoredRows:
    return NO_ROWS if packed is None or checksums is None else unpack(packed, checksums)


def _check_contiguous(events: StoredRows, after: int) -> None:
    if not events.have_positions_from(after + 1):
        for event in events:
            if event.position != after + 1:
                raise SkippedPositionsError(after, event.position)
            after += 1
