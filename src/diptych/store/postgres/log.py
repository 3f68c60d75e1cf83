"""Reads the log, many rows in one answer: each of their fields as one text of all rows, that the server makes.

Rule: every row is checked against its checksum, and every page against gaps, before anybody sees it.
"""

from collections.abc import Sequence
from itertools import repeat
from json import loads
from typing import Any, Final, NamedTuple
from uuid import UUID

from diptych.errors import CorruptedEventError, DiptychError, SkippedPositionsError, StoreCorruptedError
from diptych.events.recorded import KIND_SEPARATOR, ROW_SEPARATOR, SEPARATOR
from diptych.events.rows import NO_ROWS, StoredRows, checked
from diptych.store.postgres.connection import Connection
from diptych.store.postgres.migrations import in_schema
from diptych.store.protocols import CommandKey, Head, Page, StoredCommand
from diptych.stream import SLICES, StreamName, uuid_text

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
_FIRST_OF_SEVERAL: Final = 100  # events of each stream, where several are read at once; the rest of it by itself
_STREAMS: Final = "SELECT tenant, category FROM diptych.streams WHERE stream_id = $1"
# What a row's text is made of (see `text_of`), each field of all rows as one text: making texts of whole rows takes the
# server three times as long. A kind is the number of its type, and the rest only where it is not 1 and 0.
_KIND: Final = """CASE WHEN e.schema_version = 1 AND e.format = 0 THEN e.type::text
    ELSE concat_ws(chr(29), e.type, e.schema_version, e.format) END"""
_FIELDS: Final = f"""array_agg(e.checksum), string_agg(e.event_id::text, ','),
    string_agg({_KIND}, chr(30)), string_agg(e.metadata::text, chr(30)), string_agg(e.payload::text, chr(30)),
    string_agg(e.position::text, ','), string_agg(e.recorded_at::text, ',')"""
_TYPES: Final = "SELECT id::text, name FROM diptych.event_types ORDER BY id"
_OF_TYPES: Final = "AND type = ANY(ARRAY(SELECT id FROM diptych.event_types WHERE name = ANY($3)))"
_IN_SLICES: Final = "AND slice BETWEEN $4 AND $5"
_TILL: Final = """, till AS MATERIALIZED (SELECT max(position) AS position FROM diptych.events WHERE position <=
        (SELECT CASE WHEN is_full OR last < found THEN last ELSE $1 + $3::bigint END FROM kept))"""
_BESIDE: Final = """,
    (SELECT count(*) FROM diptych.events WHERE position > $1 AND position <= (SELECT position FROM till)),
    t.position, t.event_id, t.recorded_at"""
_LAST: Final = "LEFT JOIN diptych.events t ON t.position = (SELECT position FROM till)"
_PAGE: Final = f"""
WITH m AS MATERIALIZED (SELECT * FROM diptych.events
        WHERE position > $1 AND position <= $1 + {{scan}} {{matching}} ORDER BY position LIMIT $2),
    kept AS MATERIALIZED (SELECT max(position) AS found, count(*) >= $2 AS is_full,
        CASE WHEN sum(octet_length(payload::text)) < {PAGE_BYTES} THEN max(position) ELSE (
            SELECT max(position) FROM (
                SELECT position, sum(octet_length(payload::text)) OVER (
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM m) w
            WHERE coalesce(before, 0) < {PAGE_BYTES}) END AS last FROM m)
    {{till}}
SELECT h.position, h.event_id, h.recorded_at, (SELECT event_id FROM diptych.events WHERE position = $1),
    k.is_full OR k.last < k.found, r.*,
    (SELECT string_agg(concat_ws(chr(31), id, category, stream_id), chr(30)) FROM diptych.streams
     WHERE id = ANY(ARRAY(SELECT stream FROM m))) {{beside}}
FROM (SELECT {_FIELDS}, string_agg(e.version::text, ','), string_agg(e.tenant, chr(30)), string_agg(e.stream::text, ',')
      FROM m e WHERE e.position <= (SELECT last FROM kept)) r
CROSS JOIN kept k
LEFT JOIN (SELECT position, event_id, recorded_at FROM diptych.events ORDER BY position DESC LIMIT 1) h ON true
{{joined}}
"""  # noqa: S608 - constants of this file
_ALL: Final = _PAGE.format(scan="$2::bigint", matching="", till="", beside="", joined="")
_FILTERED: Final = _PAGE.format(scan=str(SCAN), matching=_OF_TYPES, till="", beside="", joined="")
_SLICED: Final = _PAGE.format(scan="$3::bigint", matching=_IN_SLICES, till=_TILL, beside=_BESIDE, joined=_LAST)
_GAP: Final = """
SELECT greatest($1, (SELECT max(position) FROM diptych.events b WHERE b.position < e.position)), e.position
FROM diptych.events e
WHERE e.position > $1 + 1 AND NOT EXISTS (SELECT FROM diptych.events b WHERE b.position = e.position - 1)
ORDER BY e.position LIMIT 1
"""
_OF_STREAM: Final = f"""
SELECT {{which}}s.version, r.* FROM {{wanted}}diptych.streams s CROSS JOIN LATERAL (
    SELECT max(e.version), {_FIELDS} FROM (
        SELECT * FROM diptych.events WHERE stream = s.id AND version >= {{first}} ORDER BY version LIMIT {{limit}}) e) r
WHERE s.stream_id = {{id}} AND s.category = {{category}} AND s.tenant = {{tenant}}
"""  # noqa: S608 - constants of this file
_STREAM: Final = _OF_STREAM.format(
    which="", wanted="", first="$4", limit=_STREAM_PAGE, id="$3", category="$2", tenant="$1"
)
_SEVERAL: Final = _OF_STREAM.format(
    which="w.number, ",
    wanted="""unnest($1::text[], $2::text[], $3::uuid[], $4::bigint[])
    WITH ORDINALITY AS w (tenant, category, id, first, number) CROSS JOIN """,
    first="w.first",
    limit=_FIRST_OF_SEVERAL,
    id="w.id",
    category='w.category COLLATE "C"',
    tenant='w.tenant COLLATE "C"',
)
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


class Wanted(NamedTuple):
    """A stream that is to be read from a version on."""

    stream: StreamName
    first: int


class Types:
    """The kinds of rows by the numbers of their types, as they were read last: a number never gets another name."""

    def __init__(self, schema: str) -> None:
        self._sql = in_schema(_TYPES, schema)
        self._known: dict[str, str] = {}

    def kinds(self, numbers: Sequence[str]) -> list[str]:
        """Return the kind of each row, given as the server gives it. :raises KeyError: one is not known yet."""
        return list(map(self._known.__getitem__, numbers))

    async def kinds_read(self, connection: Connection, numbers: Sequence[str]) -> list[str]:
        """Read them all, and return the kind of each row; nothing where there is no such type."""
        names = {row["id"]: row["name"] for row in await connection.fetch(self._sql)}
        self._known = {number: KIND_SEPARATOR.join((name, "1", "0")) for number, name in names.items()}
        for kind in set(numbers) - self._known.keys():
            number, *rest = kind.split(KIND_SEPARATOR)
            if rest and number in names:
                self._known[kind] = KIND_SEPARATOR.join((names[number], *rest))
        return list(map(self._known.get, numbers, repeat("")))


class Log:
    """The statements that read a log, in its schema. Every method takes the connection to read on."""

    def __init__(self, schema: str) -> None:
        self._all, self._filtered = in_schema(_ALL, schema), in_schema(_FILTERED, schema)
        self._stream, self._several = in_schema(_STREAM, schema), in_schema(_SEVERAL, schema)
        self._sliced, self._gap = in_schema(_SLICED, schema), in_schema(_GAP, schema)
        self._head, self._command, self._kept = (in_schema(sql, schema) for sql in (_HEAD, _COMMAND, _KEPT))
        self._streams = in_schema(_STREAMS, schema)
        self._types = Types(schema)

    async def page(self, connection: Connection, after: int, types: frozenset[str] | None, limit: int) -> Page:
        """Return a page of the log, read under one snapshot with its head.

        :raises SkippedPositionsError: an unfiltered page has a gap. :raises CorruptedEventError: a row is damaged.
        """
        if types is None:
            found = await connection.fetchrow(self._all, after, limit)
        else:
            found = await connection.fetchrow(self._filtered, after, limit, sorted(types))
        assert found is not None
        head, before, is_full = _head_of(found[:3]), _bytes(found[3]), found[4]
        events = await self._placed(connection, found[5:])
        if types is None:
            _check_contiguous(events, after, head)
            return Page(after, after + len(events), events, head, before)
        scanned = events[-1].position if events and is_full else max(min(head.position, after + SCAN), after)
        return Page(after, scanned, events, head, before)

    async def slices(self, connection: Connection, after: int, slices: range, limit: int) -> Page:
        """Return a page of events in some slices, read under one snapshot with its head and its end.

        :raises SkippedPositionsError: the page, or what it leaves out, has a gap. :raises CorruptedEventError:
        """
        scan = min(limit * SLICES // len(slices), SCAN)
        found = await connection.fetchrow(self._sliced, after, limit, scan, slices[0], slices[-1])
        assert found is not None
        *row, passed = found[:-3]
        head, last = _head_of(row[:3]), _head_of(found[-3:])
        scanned = max(last.position, after)
        if passed != scanned - after or (not passed and head.position > after):
            before, next = await connection.fetchrow(self._gap, after) or (after, scanned)
            raise SkippedPositionsError(before, next)
        events = await self._placed(connection, row[5:])
        return Page(after, scanned, events, head, _bytes(row[3]), last)

    async def stream(self, connection: Connection, stream: StreamName, first: int) -> StoredRows:
        """Return the events of a stream from a version on. :raises CorruptedEventError: :raises StoreCorruptedError:"""
        read, first = NO_ROWS, max(first, 1)
        while True:
            found = await connection.fetchrow(self._stream, *stream, first)
            if found is None:
                return read
            page = await self._of_stream(connection, stream, first, found, _STREAM_PAGE)
            read = read + page if read else page
            if len(page) < _STREAM_PAGE:
                return read
            first += len(page)

    async def several(self, connection: Connection, wanted: Sequence[Wanted]) -> Sequence[StoredRows | DiptychError]:
        """Return for each of several streams what `stream` returns, or raises, of it: the short ones in one answer."""
        columns = map(list, zip(*[(*stream, max(first, 1)) for stream, first in wanted], strict=True))
        found = {row[0]: row[1:] for row in await connection.fetch(self._several, *columns)}
        return [await self._one_of(connection, each, found.get(number)) for number, each in enumerate(wanted, 1)]

    async def _one_of(self, connection: Connection, wanted: Wanted, found: Any) -> StoredRows | DiptychError:
        stream, first = wanted.stream, max(wanted.first, 1)
        if found is None:
            return NO_ROWS
        try:
            begin = await self._of_stream(connection, stream, first, found, _FIRST_OF_SEVERAL)
            if len(begin) < _FIRST_OF_SEVERAL:
                return begin
            return begin + await self.stream(connection, stream, first + len(begin))
        except (CorruptedEventError, StoreCorruptedError) as error:  # the others of the answer are whole
            return error

    async def _of_stream(
        self, connection: Connection, stream: StreamName, first: int, found: Any, limit: int
    ) -> StoredRows:
        """Make rows of one answer about a stream, of which up to so many events were asked for."""
        version, last, *fields = found
        count = 0 if last is None else len(fields[0])
        if (count and last != first + count - 1) or (count < limit and first + count - 1 < version):
            raise StoreCorruptedError(f"{stream}: events are missing before version {version}. Restore a backup.")
        if not count:
            return NO_ROWS
        place = ([stream.tenant] * count, [stream.category] * count, [uuid_text(stream.id)] * count)
        return await self._rows(connection, fields, place, list(map(str, range(first, first + count))))

    async def streams_of(self, connection: Connection, id: UUID) -> Sequence[StreamName]:
        """Return all streams with this id."""
        found = await connection.fetch(self._streams, id)
        return sorted(StreamName(tenant, category, id) for tenant, category in found)

    async def _placed(self, connection: Connection, found: Sequence[Any]) -> StoredRows:
        """Make rows of a page's fields, in the order of its statement."""
        *fields, versions, tenants, streams, names = found
        if versions is None:
            return NO_ROWS
        place = _places(tenants.split(ROW_SEPARATOR), streams.split(","), names or "")
        return await self._rows(connection, fields, place, versions.split(","))

    async def _rows(
        self, connection: Connection, fields: Sequence[Any], place: Sequence[list[str]], versions: list[str]
    ) -> StoredRows:
        """Make rows of what the server made of their fields; `place` is tenant, category and id of their streams."""
        checksums, ids, kinds, metadata, payloads, positions, times = fields
        event_ids, numbers = ids.replace("-", "").upper().split(","), kinds.split(ROW_SEPARATOR)
        stored = (metadata.split(ROW_SEPARATOR), payloads.split(ROW_SEPARATOR), positions.split(","))
        recorded = times.split(",")
        try:
            return checked((event_ids, *place, self._types.kinds(numbers), *stored, versions, recorded), checksums)
        except (KeyError, CorruptedEventError):  # a new type, or types of another store, of which this is a backup
            named = await self._types.kinds_read(connection, numbers)
            return checked((event_ids, *place, named, *stored, versions, recorded), checksums)

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


def _places(tenants: list[str], streams: list[str], names: str) -> Sequence[list[str]]:
    """Tenants, categories and ids of streams, given the names of streams by their numbers."""
    categories: dict[str, str] = {}
    ids: dict[str, str] = {}
    for number, category, id in [each.split(SEPARATOR) for each in names.split(ROW_SEPARATOR) if each]:
        categories[number], ids[number] = category, id
    return tenants, list(map(categories.get, streams, repeat(""))), list(map(ids.get, streams, repeat("")))


def _check_contiguous(events: StoredRows, after: int, head: Head) -> None:
    if not events and head.position > after:
        raise SkippedPositionsError(after, head.position)
    if not events.have_positions_from(after + 1):
        for event in events:
            if event.position != after + 1:
                raise SkippedPositionsError(after, event.position)
            after += 1
