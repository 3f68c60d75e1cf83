"""A schema as the target of a move from another store: filled from the first position on, closed until it is whole.

Rule: every call is one transaction, so that a copy that is killed goes on where the log ends. Until `open_for_appends`
the server itself refuses appends, whoever sends them.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple
from uuid import UUID
from zlib import crc32

from diptych.errors import CorruptedEventError, OtherHistoryError, StoreUnavailableError
from diptych.events.recorded import StoredEvent, chained, text_of
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection, Database, open_connection, translate
from diptych.store.postgres.connections import close_connection
from diptych.store.postgres.fence import LET_IN
from diptych.store.postgres.migrations import in_schema, lock_key, migrate
from diptych.store.protocols import Head

Stream = tuple[str, str, str]
"""Tenant, category and id."""

_CLOSED: Final = ("events", "streams", "commands")
_CLOSE: Final = """
CREATE FUNCTION diptych.refuse_while_copied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a store is being copied to it by `diptych db copy`, which was not finished yet'
        USING ERRCODE = 'cannot_connect_now';
END $$
"""
_REFUSE: Final = """
CREATE TRIGGER while_copied BEFORE INSERT ON diptych.{table} FOR EACH STATEMENT
WHEN (current_setting('diptych_copy.is_on', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION diptych.refuse_while_copied()
"""
_IS_CLOSED: Final = "SELECT to_regprocedure('diptych.refuse_while_copied()') IS NOT NULL"
_IS_EMPTY: Final = """
SELECT NOT EXISTS (SELECT FROM diptych.events) AND NOT EXISTS (SELECT FROM diptych.commands)
"""
_HEAD: Final = "SELECT position, event_id, recorded_at FROM diptych.events ORDER BY position DESC LIMIT 1"
_TYPES: Final = "SELECT name, id FROM diptych.event_types"
_NEW_TYPES: Final = "INSERT INTO diptych.event_types (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
_EVENT_COLUMNS: Final = (
    "position", "stream", "version", "recorded_at", "checksum", "event_id", "schema_version", "format", "type", "slice",
    "tenant", "metadata", "payload",
)  # fmt: skip
_COMMAND_COLUMNS: Final = (
    "id", "position", "recorded_at", "command_id", "events", "command_type", "user_id", "tenant", "hash", "result",
)  # fmt: skip
_STREAMS: Final = """
INSERT INTO diptych.streams (id, version, stream_id, category, tenant)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::text[], $5::text[])
ON CONFLICT (id) DO UPDATE SET version = excluded.version
"""
_NEXT_COMMAND: Final = """
SELECT setval(pg_get_serial_sequence('diptych.commands', 'id'), max(id))
FROM diptych.commands HAVING max(id) IS NOT NULL
"""
_SOME_STREAMS: Final = """
SELECT id, tenant, category, stream_id, version FROM diptych.streams
WHERE id > $1 AND ($2 = 0::bigint OR id IN (SELECT stream FROM diptych.events WHERE position > $2)) ORDER BY id LIMIT $3
"""
_THEIR_EVENTS: Final = """
SELECT e.position, s.tenant, s.category, s.stream_id, e.version, e.event_id, t.name, e.schema_version, e.format,
    e.payload, e.metadata, e.recorded_at, e.checksum
FROM diptych.streams s JOIN diptych.events e ON e.stream = s.id LEFT JOIN diptych.event_types t ON t.id = e.type
WHERE s.id = ANY($1) AND e.version >= $2 AND e.version < $3 ORDER BY s.id, e.version
"""
_TOGETHER: Final = 500  # events that are hashed in one go


class Received(NamedTuple):
    """What a page of the log is made of here: rows for `events`, and where the streams are after it."""

    rows: Sequence[tuple[Any, ...]]
    streams: Mapping[int, tuple[int, UUID, str, str]]  # by id: version, stream id, category, tenant


class Target:
    """A connection that fills a schema. Make one with `open_target`."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self.connection, self.database = connection, database

    async def begin(self, store_id: UUID, created_at: int) -> bool:
        """Make the schema, closed to all others. Return whether an earlier copy of this store was finished.

        :raises OtherHistoryError: there is another store in it. :raises StoreUnavailableError: it is copied to now.
        """
        async with self._errors():
            if not await self._value("SELECT pg_try_advisory_lock($1)", lock_key(self.database.schema, "copy")):
                raise StoreUnavailableError(f"{self.database}: another `diptych db copy` is at work. Wait for it.")
        await migrate(self.connection, self.database, "events")
        async with self._transaction() as connection:
            found = await self._value("SELECT store_id FROM diptych.event_store")
            if found is not None and UUID(bytes=found.bytes) == store_id:
                return not await self._value(_IS_CLOSED)
            await connection.execute(in_schema(_CLOSE, self.database.schema))
            for table in _CLOSED:  # from here on nobody else appends, so that what is found empty stays so
                await connection.execute(in_schema(_REFUSE.format(table=table), self.database.schema))
            if found is not None:
                await self._adopt(store_id, created_at)
            else:
                await self._run("INSERT INTO diptych.event_store VALUES (1, $1, $2)", store_id, created_at)
        return False

    async def _adopt(self, store_id: UUID, created_at: int) -> None:
        """Give an empty store, of `diptych db upgrade` or of a service that never stored anything, another id."""
        if not await self._value(_IS_EMPTY):
            raise OtherHistoryError(str(self.database), (await self.head()).position)
        await self._run("UPDATE diptych.event_store SET store_id = $1, created_at = $2", store_id, created_at)
        if await self._value("SELECT to_regclass('diptych.view_store') IS NOT NULL"):
            await self._run("UPDATE diptych.view_store SET store_id = $1", store_id)

    async def head(self) -> Head:
        """How far the log reaches here."""
        async with self._errors():
            found = await self.connection.fetchrow(in_schema(_HEAD, self.database.schema))
        return Head() if found is None else Head(found[0], found[1].bytes, found[2])

    async def types(self, names: set[str]) -> dict[str, int]:
        """The numbers of stored types here, given to those that have none yet."""
        async with self._errors():
            await self._run(_NEW_TYPES, sorted(names))
            return {row[0]: row[1] for row in await self.connection.fetch(in_schema(_TYPES, self.database.schema))}

    async def write_events(self, page: Received) -> None:
        """Add the next page of the log."""
        async with self._transaction() as connection:
            await self._copy("events", _EVENT_COLUMNS, page.rows)
            ids, rest = list(page.streams), zip(*page.streams.values(), strict=True)
            await connection.execute(in_schema(_STREAMS, self.database.schema), ids, *map(list, rest))

    async def last_command(self) -> int:
        """The id of the last command that was copied."""
        async with self._errors():
            return int(await self._value("SELECT coalesce(max(id), 0) FROM diptych.commands"))

    async def write_commands(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add the next commands, their ids rising."""
        async with self._transaction():
            await self._copy("commands", _COMMAND_COLUMNS, rows)

    async def forget_commands(self, oldest_command: int) -> None:
        """Forget the commands that the source has forgotten meanwhile: all before that with this id, or all for 0."""
        async with self._transaction():
            await self._run("DELETE FROM diptych.commands WHERE id < $1 OR $1 = 0", oldest_command)
            await self._run(_NEXT_COMMAND)

    async def chains(self, after: int, moved_after: int) -> tuple[int, dict[Stream, tuple[int, int]]]:
        """Version and checksum of the next streams, worked out from their events: at most so many as fit together.

        `after` is the id of the stream before them; only those with events past `moved_after` count. Returns the last
        id with them. :raises CorruptedEventError: an event is missing or damaged.
        """
        async with self._errors():
            sql = in_schema(_SOME_STREAMS, self.database.schema)
            found = await self.connection.fetch(sql, after, moved_after, _TOGETHER)
            together: list[Any] = []
            events = 0
            for row in found:
                events += row["version"]
                if together and events > _TOGETHER:
                    break
                together.append(row)
            hashed = await self._hashed(
                [row["id"] for row in together], max((r["version"] for r in together), default=0)
            )
        streams = {(row["tenant"], row["category"], str(row["stream_id"])): row["version"] for row in together}
        for stream, version in streams.items():
            if hashed.get(stream, (0, 0))[0] != version:
                raise CorruptedEventError(hashed.get(stream, (0, 0))[0])
        return (together[-1]["id"] if together else after), hashed

    async def _hashed(self, ids: Sequence[int], last: int) -> dict[Stream, tuple[int, int]]:
        sql = in_schema(_THEIR_EVENTS, self.database.schema)
        hashed: dict[Stream, tuple[int, int]] = {}
        for first in range(1, last + 1, _TOGETHER):
            for stored in _stored(await self.connection.fetch(sql, ids, first, first + _TOGETHER)):
                version, before = hashed.get(stored[1:4], (0, None))
                text = text_of(stored).encode()
                if stored.version != version + 1 or crc32(text) != stored.checksum:
                    raise CorruptedEventError(stored.position)
                hashed[stored[1:4]] = stored.version, chained(text, before)
        return hashed

    async def counts(self, tables: Sequence[str]) -> list[int]:
        """How many rows there are in each table of ours."""
        async with self._errors():
            return [int(await self._value(f"SELECT count(*) FROM diptych.{table}")) for table in tables]  # noqa: S608

    async def open_for_appends(self) -> None:
        """Take appends from now on; when this returns it is on disk, with all that was copied."""
        async with self._transaction(is_last=True):
            for table in _CLOSED:
                await self._run(f"DROP TRIGGER while_copied ON diptych.{table}")
            await self._run("DROP FUNCTION diptych.refuse_while_copied()")
        async with self._errors():
            for table in _CLOSED:
                await self._run(f"ANALYZE diptych.{table}")

    async def close(self) -> None:
        """Let go of the connection."""
        await close_connection(self.connection)

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except DRIVER_ERRORS as error:
            raise translate(error, self.database) from error

    @asynccontextmanager
    async def _transaction(self, *, is_last: bool = False) -> AsyncIterator[Connection]:
        async with self._errors(), self.connection.transaction():
            how = "on" if is_last else "off"  # a lost page is copied again, and the last commit covers all before it
            await self.connection.execute(f"SET LOCAL diptych_copy.is_on = 'on'; SET LOCAL synchronous_commit = {how}")
            yield self.connection

    async def _run(self, sql: str, *values: Any) -> None:
        await self.connection.execute(in_schema(sql, self.database.schema), *values)

    async def _value(self, sql: str, *values: Any) -> Any:
        return await self.connection.fetchval(in_schema(sql, self.database.schema), *values)

    async def _copy(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        await self.connection.copy_records_to_table(
            table, schema_name=self.database.schema, columns=list(columns), records=rows
        )


async def open_target(database: Database) -> Target:
    """Connect to where a store is to be moved."""
    return Target(await open_connection(database, {"lock_timeout": "30000", **LET_IN}, answers_within=None), database)


def _stored(rows: Sequence[Any]) -> Iterator[StoredEvent]:
    for position, tenant, category, stream, version, event_id, *rest in rows:
        yield StoredEvent(position, tenant, category, str(stream), version, event_id.bytes, *rest)
