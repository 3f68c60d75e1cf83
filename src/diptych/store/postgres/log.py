"""Reads the log, many rows in one answer, all of them as one text that the server makes.

Rule: every row is checked against its checksum, and every page against gaps, before anybody sees it.
"""

from collections.abc import Sequence
from json import loads
from typing import Any, Final
from uuid import UUID

from diptych.errors import SkippedPositionsError, StoreCorruptedError
from diptych.events.recorded import StoredEvent
from diptych.events.rows import NO_ROWS, StoredRows, unpack
from diptych.store.postgres.connection import Connection
from diptych.store.postgres.migrations import in_schema
from diptych.store.protocols import CommandKey, Head, Page, StoredCommand
from diptych.stream import StreamName

PAGE_BYTES: Final = 4 * 1024 * 1024  # of payload, after which a page of the log ends
SCAN: Final = 50_000  # positions that one filtered page looks at, at most
SETTINGS: Final = {
    "enable_seqscan": "off",  # plans are kept, and must be right for a log that grew since
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "default_transaction_isolation": "read committed",
}
_STREAM_PAGE: Final = 2000
_ID: Final = """upper(encode(uuid_send(e.event_id), 'hex') COLLATE "C")"""
_KIND: Final = "concat_ws(chr(29), (SELECT types FROM n) ->> e.type::text, e.schema_version, e.format)"
# Of rows of `m`, in its order. Names are looked up in `n`: a join would look for each row in the tables again.
_ROWS: Final = f"""convert_to(string_agg(concat_ws(chr(31), {_ID}, e.tenant, {{stream}}, {_KIND}, e.metadata, e.payload,
    e.position, e.version, e.recorded_at), chr(30)), 'UTF8'), string_agg(e.checksum::text, ', ')"""  # see `text_of`
_TYPES: Final = "SELECT jsonb_object_agg(id, name) FROM diptych.event_types WHERE id = ANY(ARRAY(SELECT type FROM m))"
_OF_TYPES: Final = "AND type = ANY(ARRAY(SELECT id FROM diptych.event_types WHERE name = ANY($3)))"
_PAGE: Final = f"""
WITH m AS MATERIALIZED (SELECT * FROM diptych.events
        WHERE position > $1 AND position <= $1 + {{scan}} {{types}} ORDER BY position LIMIT $2),
    n AS MATERIALIZED (SELECT ({_TYPES}) AS types,
        (SELECT jsonb_object_agg(id, concat_ws(chr(31), category, stream_id)) FROM diptych.streams
         WHERE id = ANY(ARRAY(SELECT stream FROM m))) AS streams),
    kept AS MATERIALIZED (SELECT max(position) AS found, count(*) >= $2 AS is_full,
        CASE WHEN sum(octet_length(payload::text)) < {PAGE_BYTES} THEN max(position) ELSE (
            SELECT max(position) FROM (
                SELECT position, sum(octet_length(payload::text)) OVER (
                    ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM m) w
            WHERE coalesce(before, 0) < {PAGE_BYTES}) END AS last FROM m)
SELECT h.position, h.event_id, h.recorded_at, (SELECT event_id FROM diptych.events WHERE position = $1),
    k.is_full OR k.last < k.found, r.texts, r.checksums
FROM (SELECT {_ROWS.format(stream="(SELECT streams FROM n) ->> e.stream::text")}
      FROM m e WHERE e.position <= (SELECT last FROM kept)) r (texts, checksums)
CROSS JOIN kept k
LEFT JOIN (SELECT position, event_id, recorded_at FROM diptych.events ORDER BY position DESC LIMIT 1) h ON true
"""  # noqa: S608 - constants of this file
_ALL: Final = _PAGE.format(scan="$2::bigint", types="")
_FILTERED: Final = _PAGE.format(scan=str(SCAN), types=_OF_TYPES)
_WHICH: Final = "FROM diptych.streams WHERE stream_id = $3 AND category = $2 AND tenant = $1"
_STREAM: Final = f"""
WITH m AS MATERIALIZED (SELECT * FROM diptych.events WHERE stream = (SELECT id {_WHICH}) AND version >= $4
        ORDER BY version LIMIT {_STREAM_PAGE}),
    n AS MATERIALIZED (SELECT ({_TYPES}) AS types, concat_ws(chr(31), $2::text, $3::uuid) AS name)
SELECT (SELECT version {_WHICH}), {_ROWS.format(stream="(SELECT name FROM n)")} FROM m e
"""  # noqa: S608 - constants of this file
_HEAD: Final = "SELECT position, event_id, recorded_at FROM diptych.events ORDER BY position DESC LIMIT 1"

# It writes to the server's own log, so that its commit waits for the standby as that of the command did (C3): an
# answer that says "this took effect" must not come from a server that has lost its standby.
_COMMAND: Final = """
SELECT c.hash, c.result, c.position, e.event_id,
    (SELECT json_agg(json_build_array(s.tenant, s.category, s.stream_id, x.version)) FROM
        (SELECT stream, max(version) AS version FROM diptych.events
         WHERE position > c.position - c.events AND position <= c.position GROUP BY stream) x
        JOIN diptych.streams s ON s.id = x.stream),
    (SELECT array_agg(DISTINCT t.name) FROM diptych.events y JOIN diptych.event_types t ON t.id = y.type
     WHERE y.position > c.position - c.events AND y.position <= c.position),
    pg_logical_emit_message(true, 'diptych'::text, ''::text)::text
FROM diptych.commands c LEFT JOIN diptych.events e ON e.position = c.position
WHERE c.command_id = $1 AND c.command_type = $2 AND c.user_id = $3 AND c.tenant = $4
"""

_KEPT: Final = """
SELECT event_id, pg_logical_emit_message(true, 'diptych'::text, ''::text)::text FROM diptych.events WHERE position = $1
"""  # its commit waits for the standby, and so for all that stands before it in the server's own log


class Log:
    """The statements that read a log, in its schema. Every method takes the connection to read on."""

    def __init__(self, schema: str) -> None:
        self._all, self._filtered, self._stream = (in_schema(sql, schema) for sql in (_ALL, _FILTERED, _STREAM))
        self._head, self._command, self._kept = (in_schema(sql, schema) for sql in (_HEAD, _COMMAND, _KEPT))

    async def page(self, connection: Connection, after: int, types: frozenset[str] | None, limit: int) -> Page:
        """Return a page of the log, read under one snapshot with its head.

        :raises SkippedPositionsError: an unfiltered page has a gap. :raises CorruptedEventError: a row is damaged.
        """
        if types is None:
            found = await connection.fetchrow(self._all, after, limit)
        else:
            found = await connection.fetchrow(self._filtered, after, limit, sorted(types))
        assert found is not None
        *place, before, is_full, texts, checksums = found
        head, before = _head_of(place), _bytes(before)
        events = NO_ROWS if texts is None else unpack(texts, checksums)
        if types is None:
            _check_contiguous(events, after, head)
            return Page(after, after + len(events), events, head, before)
        scanned = events[-1].position if events and is_full else max(min(head.position, after + SCAN), after)
        return Page(after, scanned, events, head, before)

    async def stream(self, connection: Connection, stream: StreamName, first: int) -> Sequence[StoredEvent]:
        """Return the events of a stream from a version on. :raises CorruptedEventError: :raises StoreCorruptedError:"""
        read: StoredRows | None = None
        first = max(first, 1)
        while True:
            found = await connection.fetchrow(self._stream, *stream, first)
            if found is None or found[0] is None:
                return read or NO_ROWS
            version, texts, checksums = found
            page = NO_ROWS if texts is None else unpack(texts, checksums)
            last = first + len(page) - 1
            is_all = len(page) < _STREAM_PAGE
            if not page.have_versions_from(first) or (is_all and last < version):
                raise StoreCorruptedError(f"{stream}: events are missing before version {version}. Restore a backup.")
            read = page if read is None else read + page
            if is_all:
                return read
            first = last + 1

    async def head(self, connection: Connection) -> Head:
        """The end of the log."""
        return _head_of(await connection.fetchrow(self._head))

    async def keeps(self, connection: Connection, position: int, event_id: bytes) -> bool:
        """Whether the event at a position is this one, from a transaction that writes."""
        found = await connection.fetchval(self._kept, position)
        return _bytes(found) == event_id

    async def command(self, connection: Connection, key: CommandKey) -> StoredCommand | None:
        """What this command did the first time, if it took effect."""
        named = (key.command_id, key.command_type, key.user_id, key.tenant)
        found = await connection.fetchrow(self._command, *named)
        if found is None:
            return None
        digest, result, position, event_id, streams, types, _ = found
        versions = {StreamName(tenant, category, UUID(id)): at for tenant, category, id, at in loads(streams or "[]")}
        return StoredCommand(digest, result, position, _bytes(event_id), versions, frozenset(types or ()))


def _head_of(row: Any) -> Head:
    if row is None or row[0] is None:
        return Head()
    position, event_id, recorded_at = row
    return Head(position, event_id.bytes, recorded_at)


def _bytes(event_id: UUID | None) -> bytes:
    return b"" if event_id is None else event_id.bytes


def _check_contiguous(events: StoredRows, after: int, head: Head) -> None:
    if not events and head.position > after:
        raise SkippedPositionsError(after, head.position)
    if not events.have_positions_from(after + 1):
        for event in events:
            if event.position != after + 1:
                raise SkippedPositionsError(after, event.position)
            after += 1
