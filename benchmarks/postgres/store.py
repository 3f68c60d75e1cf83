"""The raw twin on PostgreSQL: a group of appends in one round trip, which takes the lock, writes and commits.

Any number of processes may append; each sends one group at a time.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg.pgproto import pgproto

from benchmarks.generator import Fact
from benchmarks.postgres.connections import Pool, Where
from benchmarks.raw import DECODE, Encoded, RawCommand, RawConflict, RawOrder, stored
from diptych.store.postgres.connection import Connection

_READERS = 8
_LOCK = 4711
_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS events(
    position bigint PRIMARY KEY, version bigint NOT NULL, recorded_at bigint NOT NULL, stream uuid NOT NULL,
    event_id uuid NOT NULL, type text NOT NULL, payload json NOT NULL, metadata json NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS by_stream ON events(stream, version);
CREATE TABLE IF NOT EXISTS commands(
    id uuid PRIMARY KEY, hash bytea NOT NULL, result text NOT NULL, position bigint NOT NULL,
    recorded_at bigint NOT NULL);

-- `s_`: streams and what they are expected to be at. `e_`: events. `c_`: commands; `c_last`: how many events up to its
-- last. `refused` is the streams that are elsewhere: then nothing is written, and the group is sent without them.
CREATE OR REPLACE FUNCTION append_group(
    s_stream uuid[], s_expected bigint[], now bigint,
    e_stream uuid[], e_version bigint[], e_id uuid[], e_type text[], e_payload text[], e_metadata text[],
    c_id uuid[], c_hash bytea[], c_result text[], c_last bigint[], OUT head bigint, OUT refused bigint[]
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock({lock}); -- a statement of its own: the next ones see what was committed before it
    SELECT coalesce(max(position), 0) INTO head FROM events;
    SELECT array_agg(n) INTO refused FROM generate_series(1, cardinality(s_stream)) n
    WHERE s_expected[n] <> coalesce((SELECT max(version) FROM events WHERE stream = s_stream[n]), 0);
    IF refused IS NOT NULL THEN
        RETURN;
    END IF;
    INSERT INTO events (position, stream, version, recorded_at, event_id, type, payload, metadata)
    SELECT head + u.n, e_stream[u.n::integer], e_version[u.n::integer], now, e_id[u.n::integer], e_type[u.n::integer],
        u.payload::json, e_metadata[u.n::integer]::json
    FROM unnest(e_payload) WITH ORDINALITY AS u (payload, n);
    IF cardinality(c_id) > 0 THEN
        INSERT INTO commands (id, hash, result, position, recorded_at)
        SELECT c_id[n], c_hash[n], c_result[n], head + c_last[n], now FROM generate_series(1, cardinality(c_id)) n;
    END IF;
END $$
"""
_APPEND = f"SELECT head, refused FROM append_group({', '.join(f'${place}' for place in range(1, 14))})"
_STREAM = "SELECT type, payload FROM events WHERE stream = $1 AND version >= $2 ORDER BY version"
_COLUMNS = ("position", "stream", "version", "event_id", "type", "payload", "metadata", "recorded_at")
_uuid = pgproto.UUID  # of the driver: made of bytes in a tenth of the time


class _Job(NamedTuple):
    future: "asyncio.Future[int]"
    stream: UUID
    expected: int
    events: Sequence[Encoded]
    metadata: str
    command: RawCommand | None


class PostgresRawStore:
    """Appends through one task, grouped; reads on a few connections."""

    def __init__(self, writer: Connection, readers: Pool) -> None:
        self._writer, self._readers = writer, readers
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Job] = []
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, where: Where) -> "PostgresRawStore":
        """Make the tables, if they lack, and connect."""
        writer = await where.connect()
        await writer.execute(_SCHEMA.format(schema=where.schema, lock=_LOCK))
        return cls(writer, await Pool.open(where, _READERS))

    async def close(self) -> None:
        """Let the writer finish."""
        if self._task is not None:
            await self._task
        await self._writer.close()
        await self._readers.close()

    def key(self, order_id: UUID) -> UUID:
        """The name of an order's stream, as the driver takes it."""
        return _uuid(order_id.bytes)

    def append(
        self,
        stream: UUID,
        expected: int,
        events: Sequence[Encoded],
        metadata: str = "{}",
        command: RawCommand | None = None,
    ) -> "asyncio.Future[int]":
        """Append after `expected`; the future has the last position once it is on disk."""
        future: asyncio.Future[int] = self._loop.create_future()
        self._waiting.append(_Job(future, stream, expected, events, metadata, command))
        if self._task is None or self._task.done():
            self._task = self._loop.create_task(self._write())
        return future

    async def load(self, stream: UUID) -> RawOrder:
        """Read a stream and fold it."""
        order = RawOrder()
        apply = order.apply
        for name, payload in await self._readers.fetch(_STREAM, stream, 1):
            apply(DECODE[name](payload))
        return order

    async def _write(self) -> None:
        while self._waiting:
            group = self._gather()
            try:
                head, refused = await self._writer.fetchrow(_APPEND, *_arguments(group)) or (0, None)
            except Exception as error:
                for job in group:
                    job.future.set_exception(error)
                continue
            for number in refused or ():
                group[number - 1].future.set_exception(RawConflict(group[number - 1].expected))
            if refused:
                self._waiting[:0] = [job for job in group if not job.future.done()]
                continue
            for job in group:
                head += len(job.events)
                if not job.future.done():
                    job.future.set_result(head)

    def _gather(self) -> list[_Job]:
        """Take what waits, of each stream the first."""
        waiting, self._waiting = self._waiting, []
        if len(waiting) == 1:
            return waiting
        group: dict[UUID, _Job] = {}
        for job in waiting:
            if group.setdefault(job.stream, job) is not job:
                self._waiting.append(job)
        return list(group.values())


def _arguments(group: Sequence[_Job]) -> tuple[Any, ...]:
    events: list[tuple[Any, ...]] = []
    commands: list[tuple[Any, ...]] = []
    for _, stream, expected, written, metadata, command in group:
        for version, (identity, name, payload) in enumerate(written, expected + 1):
            events.append((stream, version, _uuid(identity), name, payload, metadata))
        if command is not None:
            commands.append((_uuid(command.id), command.hash, command.result, len(events)))
    streams = [job.stream for job in group], [job.expected for job in group]
    kept = list(zip(*commands, strict=True)) or [()] * 4
    return (*streams, time.time_ns() // 1000, *zip(*events, strict=True), *kept)


async def fill(where: Where, facts: Iterable[Fact], size: int) -> None:
    """Write a whole log at once, before anything is measured."""
    connection = await where.connect()
    await connection.execute(_SCHEMA.format(schema=where.schema, lock=_LOCK))
    rows = enumerate(stored(facts, size), 1)
    records = [(position, order_id, version, _uuid(id), *rest) for position, (order_id, version, id, *rest) in rows]
    await connection.copy_records_to_table("events", records=records, columns=_COLUMNS, schema_name=where.schema)
    await connection.close()
