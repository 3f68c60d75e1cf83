"""What happens to rows on a connection: loading them, and writing a batch with its checkpoint.

Rule: who owns the transaction is the caller's business.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import asyncpg

from diptych.errors import CheckpointMovedError, StoreUnavailableError, ValueDoesNotFitError
from diptych.events.recorded import StoredEvent
from diptych.store.postgres.connection import Connection, Database
from diptych.store.postgres.guard import Judge, first_line
from diptych.store.postgres.migrations import in_schema
from diptych.store.postgres.rows import PostgresRowCodec, codec_of
from diptych.store.postgres.script import Script
from diptych.store.protocols import Checkpoint, CheckpointMove, Fold, Load, ParkedEvent, RowChanges, ViewBatch
from diptych.store.rows import by_table
from diptych.store.tables import Table

_FEW: Final = 256  # rows that are made sooner than a thread is woken and heard
_UNFIT: Final = ("22", "23", "54")  # data exceptions, constraints, limits of the server: a key of 3,000 characters, say
_OF_LANE: Final = "projection = $1 AND lane = $2 AND tenant = ''"
_SHAPED: Final = """EXISTS (
    SELECT FROM diptych.projection_shapes WHERE projection = $1 AND version = $3 AND fingerprint = $4)"""
_ONTO_EVENT: Final = """AND ($6 = ''::bytea OR EXISTS (
    SELECT FROM diptych.events WHERE position = $5 AND uuid_send(event_id) = $6))"""
_CHECKPOINT: Final = (
    f"SELECT position, epoch, event_id, recorded_at FROM diptych.projection_checkpoints WHERE {_OF_LANE}"  # noqa: S608
)
_HELD: Final = f"{_CHECKPOINT} AND {_SHAPED} FOR NO KEY UPDATE"
_MOVE: Final = f"""
    UPDATE diptych.projection_checkpoints SET position = $5, event_id = $6, recorded_at = $7
    WHERE {_OF_LANE} AND epoch = $8 AND position = $9 AND {_SHAPED} {{onto_event}}"""  # noqa: S608
_BEGIN_LANE: Final = f"""
    INSERT INTO diptych.projection_checkpoints SELECT $1, $2, '', $8::bigint, $5::bigint, $6::bytea, $7::bigint
    WHERE $9 = 0::bigint AND {_SHAPED} {{onto_event}} ON CONFLICT DO NOTHING"""
_HAS_SHAPE: Final = f"SELECT $2::integer IS NOT NULL AND {_SHAPED}"
_PARK: Final = """
    INSERT INTO diptych.parked_events SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[])
    ON CONFLICT (projection, position, key, tenant) DO UPDATE SET error = excluded.error"""
_UNPARK: Final = "DELETE FROM diptych.parked_events WHERE projection = $1 AND key = $2"
_FIRST_ERRORS: Final = """
    SELECT DISTINCT ON (key) key, error FROM diptych.parked_events
    WHERE projection = $1 AND key = ANY($2) ORDER BY key, position"""
_PARKED: Final = "SELECT key, position, error FROM diptych.parked_events WHERE projection = $1 ORDER BY position, key"


class Shape(NamedTuple):
    """A projection as this process knows it; `fingerprint` as it is kept."""

    tables: Sequence[Table]
    version: int
    fingerprint: str


class Changes:
    """The statements of one schema, and what they are run for."""

    def __init__(self, database: Database, judge: Judge, *, is_beside_log: bool = False) -> None:
        """With `is_beside_log` a checkpoint moves only onto an event that is in the log of the same schema.

        What was read before a fail-over that lost the tail is then not written (P1). An empty event id is not compared.
        """
        self._database, self._judge, self._schema = database, judge, database.schema
        self._known: dict[tuple[tuple[int, bool, bool], ...], str] = {}
        move, begin = [each.format(onto_event=_ONTO_EVENT if is_beside_log else "") for each in (_MOVE, _BEGIN_LANE)]
        texts = (_CHECKPOINT, _HELD, move, begin, _HAS_SHAPE, _PARK, _UNPARK, _FIRST_ERRORS, _PARKED)
        placed = [in_schema(text, database.schema) for text in texts]
        self._checkpoint, self._held, self._move, self._begin_lane, self._has_shape, *of_parked = placed
        self._park, self._unpark, self._first_errors, self._parked = of_parked

    async def read_checkpoint(self, connection: Connection, projection: str, lane: int = 0) -> Checkpoint:
        """Return how far a projection is; the beginning when it never moved."""
        found = await connection.fetchrow(self._checkpoint, projection, lane)
        return Checkpoint(*found) if found is not None else Checkpoint()

    async def read_parked(self, connection: Connection, projection: str) -> list[ParkedEvent]:
        """Return all parked events of a projection, by position."""
        return [ParkedEvent(*row) for row in await connection.fetch(self._parked, projection)]

    async def load_rows(self, connection: Connection, loads: Sequence[Load]) -> dict[str, list[Any]]:
        """Return the rows asked for, built, by table name; each row once, whatever how many loads ask for it."""
        found: dict[str, list[Any]] = {}
        for table, wanted in by_table(loads):
            codec = codec_of(table, self._schema)
            rows = [row for load in wanted for row in await self._matching(connection, codec, load)]
            decode = codec.decode_all if len(wanted) == 1 else codec.decode_distinct  # distinct values, distinct rows
            found[table.name] = await _apart(len(rows), decode, rows)
        return found

    async def _matching(self, connection: Connection, codec: PostgresRowCodec, load: Load) -> list[Any]:
        values = codec.wanted(load)
        if not values:
            return []
        return await connection.fetch(codec.matching(load.columns), *_arrays(values))

    async def write_batch(self, connection: Connection, batch: ViewBatch, shape: Shape) -> None:
        """Write a batch and move its checkpoint.

        :raises CheckpointMovedError: somebody else was there first, or released a parked key that this batch relies on.
        :raises StoreUnavailableError: the tables are another version's by now.
        """
        if batch.script is not None or not await self.write_at_once(connection, batch, shape):
            await self._move_checkpoint(connection, batch, shape)
            if batch.script is not None:
                script = Script(connection, self._judge, batch.projection, shape.tables)
                await script.drive(batch.script, self._database)
            await self._write_rows(connection, batch.changes)
        for key in batch.unparked:
            done = await connection.execute(self._unpark, batch.projection, key)
            if done == "DELETE 0":  # released already, its events applied: they may not be a second time (P1)
                raise await self._moved(connection, batch.checkpoint)
        if batch.parked:
            await self._put_aside(connection, batch)

    async def _put_aside(self, connection: Connection, batch: ViewBatch) -> None:
        rows = {(each.position, each.key): each.error for each in batch.parked}
        positions, keys = zip(*rows, strict=True)
        tenants, errors = [""] * len(rows), list(rows.values())
        await connection.execute(self._park, batch.projection, list(positions), list(keys), tenants, errors)
        waiting = {each.key for each in batch.parked}
        found = await connection.fetch(self._first_errors, batch.projection, list(waiting))
        if any(not error for _, error in found):  # what it waits for was released
            raise await self._moved(connection, batch.checkpoint)

    async def _move_checkpoint(self, connection: Connection, batch: ViewBatch, shape: Shape) -> None:
        """Compare and set."""
        move, values = batch.checkpoint, self._move_values(batch, shape)
        if await connection.execute(self._move, *values) == "UPDATE 1":
            return
        if move.expected == 0 and await connection.execute(self._begin_lane, *values) == "INSERT 0 1":
            return
        if not await connection.fetchval(self._has_shape, *values[:4]):
            raise StoreUnavailableError(
                f"{self._database}: the tables of {move.name} were made anew by another version of the code. "
                "Stop one of the two processes."
            )
        raise await self._moved(connection, move)

    @staticmethod
    def _move_values(batch: ViewBatch, shape: Shape) -> list[Any]:
        name, lane, epoch, expected, position, event_id = batch.checkpoint
        which = (name, lane, shape.version, shape.fingerprint)
        return [*which, position, event_id, batch.recorded_at, epoch, expected]

    async def _moved(self, connection: Connection, move: CheckpointMove) -> CheckpointMovedError:
        actual = await self.read_checkpoint(connection, move.name, move.lane)
        return CheckpointMovedError(move.name, move.lane, move.expected, actual.position)

    async def write_at_once(self, connection: Connection, batch: ViewBatch, shape: Shape) -> bool:
        """Move the checkpoint and write the rows, all in one statement; False when it did not move.

        :raises ValueDoesNotFitError: a value has no place.
        """
        changes = [(codec_of(change.table, self._schema), change) for change in batch.changes]
        which = tuple([(id(codec), bool(change.deletes), bool(change.upserts)) for codec, change in changes])
        sql = self._known.get(which)
        if sql is None:
            sql = self._known[which] = self._at_once(changes)
        size = sum([len(change.upserts) + len(change.deletes) for _, change in changes])
        values = self._move_values(batch, shape) + await _apart(size, _encoded, changes)
        try:
            return bool(await connection.fetchval(sql, *values) == 1)
        except asyncpg.PostgresError as error:
            raise _unfit(error, [codec.table for codec, _ in changes]) from error

    def _at_once(self, changes: Sequence[tuple[PostgresRowCodec, RowChanges]]) -> str:
        parts, first, has_moved = [f"moved AS ({self._move} RETURNING 1)"], 10, "EXISTS (SELECT FROM moved)"
        for codec, change in changes:
            if change.deletes:
                parts.append(f"w{len(parts)} AS ({codec.delete(first, has_moved)})")
                first += len(codec.table.key)
            if change.upserts:
                parts.append(f"w{len(parts)} AS ({codec.upsert(first, has_moved)})")
                first += len(codec.names)
        return f"WITH {', '.join(parts)} SELECT count(*) FROM moved"  # noqa: S608 - quoted names

    async def _write_rows(self, connection: Connection, changes: Sequence[RowChanges]) -> None:
        for change in changes:
            codec = codec_of(change.table, self._schema)
            try:
                if change.deletes:
                    await connection.execute(codec.delete(1, "true"), *_arrays(map(codec.encode_key, change.deletes)))
                if change.upserts:
                    await connection.execute(codec.upsert(1, "true"), *_arrays(map(codec.encode, change.upserts)))
            except asyncpg.PostgresError as error:
                raise _unfit(error, [change.table]) from error

    async def fold_inline(
        self, connection: Connection, fold: Fold, events: Sequence[StoredEvent], head_before: int, shape: Shape
    ) -> bool:
        """Fold the events of one append into its projection's rows, inside the append's transaction.

        Returns False, and does nothing, when the projection is not at the head before them, or its tables are another
        version's: the asynchronous worker catches it up first. What it raises refuses the append; the caller undoes it.
        """
        if not events:
            return True
        held = await connection.fetchrow(self._held, fold.name, 0, shape.version, shape.fingerprint)
        if held is None or held[0] != head_before:
            return False
        rows: Mapping[str, Sequence[Any]] = await self.load_rows(connection, fold.loads(events))
        changes = fold.fold(events, rows)
        last = events[-1]
        move = CheckpointMove(fold.name, 0, held[1], head_before, last.position, last.event_id)
        batch = ViewBatch(fold.name, move, last.recorded_at, changes, script=fold.script(events))
        await self.write_batch(connection, batch, shape)
        return True


async def _apart(rows: int, work: Callable[[Sequence[Any]], list[Any]], on: Sequence[Any]) -> list[Any]:
    """Do work on many rows in a thread, so that it holds nobody else up; on few of them here."""
    return work(on) if rows <= _FEW else await asyncio.to_thread(work, on)


def _encoded(changes: Sequence[tuple[PostgresRowCodec, RowChanges]]) -> list[Any]:
    found: list[Any] = []
    for codec, change in changes:
        found += _arrays(map(codec.encode_key, change.deletes))
        found += _arrays(map(codec.encode, change.upserts))
    return found


def _arrays(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """Return one list for each column."""
    return [list(column) for column in zip(*rows, strict=True)]


def _unfit(error: asyncpg.PostgresError, tables: Sequence[Table]) -> BaseException:
    """Return what PostgreSQL's refusal of a value is: the projection's fault, not the store's."""
    if not (error.sqlstate or "").startswith(_UNFIT):
        return error
    table = getattr(error, "table_name", None) or ", ".join(table.name for table in tables)
    return ValueDoesNotFitError(table, "a row", first_line(error))
