"""What happens to rows on a connection: loading them, and writing a batch with its checkpoint.

Rule: who owns the transaction is the caller's business.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import asyncpg

from diptych.errors import CheckpointMovedError, StoreUnavailableError, ValueDoesNotFitError
from diptych.events.recorded import StoredEvent
from diptych.store.batches import Checkpoint, Fold, LaneMove, Load, ParkedEvent, RowChanges, ViewBatch
from diptych.store.generations import placed
from diptych.store.guarding import check_guards, loads_of
from diptych.store.placing import Known, Placing
from diptych.store.postgres.connection import Connection, Database
from diptych.store.postgres.guard import Judge, first_line
from diptych.store.postgres.migrations import in_schema
from diptych.store.postgres.rows import PostgresRowCodec, codec_of
from diptych.store.postgres.script import Script
from diptych.store.postgres.shapes import NOW
from diptych.store.rows import by_table
from diptych.store.tables import Table, plain_name

_FEW: Final = 256  # rows that are made sooner than a thread is woken and heard
_MOST_KNOWN: Final = 1000
_UNFIT: Final = ("22", "23", "54")  # data exceptions, constraints, limits of the server: a key of 3,000 characters, say
_SOME_MOVED: Final = "lanes moved, not all of them"
_SET: Final = "position = $3, event_id = $4, recorded_at = $5, attempt = 0, trouble = ''"
_ONTO_EVENT: Final = """AND ($4 = ''::bytea OR EXISTS (
        SELECT FROM diptych.events e WHERE e.position = $3 AND uuid_send(e.event_id) = $4))"""
_MOVE: Final = f"""
    UPDATE diptych.projection_checkpoints SET {_SET} WHERE projection = $1 AND generation = $2 AND tenant = ''
        AND lane = $6 AND epoch = $7 AND position = $8 {{onto_event}}"""  # noqa: S608 - a constant
_MOVE_ALL: Final = f"""
    UPDATE diptych.projection_checkpoints c SET {_SET}
    FROM unnest($6::integer[], $7::bigint[], $8::bigint[]) AS m (lane, epoch, expected)
    WHERE c.projection = $1 AND c.generation = $2 AND c.tenant = ''
        AND c.lane = m.lane AND c.epoch = m.epoch AND c.position = m.expected {{onto_event}}"""  # noqa: S608 - a constant
_OR_NOTHING: Final = f"""
    CASE WHEN count(*) IN (0, cardinality($6)) THEN count(*) ELSE (count(*) || ' {_SOME_MOVED}')::bigint END"""
_PLACES: Final = """
    SELECT position, epoch, event_id, recorded_at FROM diptych.projection_checkpoints
    WHERE projection = $1 AND generation = $2 ORDER BY lane"""
_CHECKPOINT: Final = """
    SELECT c.position, c.epoch, c.event_id, c.recorded_at FROM diptych.projections p
    JOIN diptych.projection_checkpoints c ON c.projection = p.projection AND c.generation = p.live
    WHERE p.projection = $1 ORDER BY c.position LIMIT 1"""
_LIVE: Final = "SELECT live FROM diptych.projections WHERE projection = $1"
_FITTING: Final = f"""
    SELECT c.generation, c.epoch, c.position FROM diptych.projections p
    JOIN diptych.projection_generations g ON g.generation = p.live
    JOIN diptych.projection_checkpoints c
        ON c.projection = p.projection AND c.generation = p.live AND c.lane = 0 AND c.tenant = ''
    WHERE p.projection = $1 AND g.version = $2 AND g.shape = $3 AND g.lanes = 1
        AND (p.paused_until IS NULL OR p.paused_until BETWEEN 1 AND {NOW})
    FOR NO KEY UPDATE OF c"""  # noqa: S608 - a constant
_PARK: Final = """
    INSERT INTO diptych.parked_events (projection, generation, position, key, lane, error)
    SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::integer[], $6::text[])
    ON CONFLICT (projection, generation, position, key, tenant) DO UPDATE SET error = excluded.error"""
ANSWER: Final = "UPDATE diptych.projection_requests SET outcome = $1 WHERE id = $2"
_UNPARK: Final = "DELETE FROM diptych.parked_events WHERE projection = $1 AND generation = $2 AND key = $3"
_FIRST_ERRORS: Final = """
    SELECT DISTINCT ON (key) key, error FROM diptych.parked_events
    WHERE projection = $1 AND generation = $2 AND key = ANY($3) ORDER BY key, position"""
_PARKED: Final = """
    SELECT key, position, error, lane FROM diptych.parked_events
    WHERE projection = $1 AND generation = $2 ORDER BY position, key"""


class LostError(Exception):
    """The lanes of a batch are not where it begins: what its transaction did so far may not stay.

    Or a parked key that it relies on was released meanwhile (`is_released`).
    """

    def __init__(self, *, is_released: bool = False) -> None:
        super().__init__("what the batch begins with is gone")
        self.is_released = is_released


class Changes:
    """The statements of one schema, and what they are run for."""

    def __init__(self, database: Database, judge: Judge, *, is_beside_log: bool = False) -> None:
        """With `is_beside_log` a checkpoint moves only onto an event that is in the log of the same schema.

        What was read before a fail-over that lost the tail is then not written (P1). An empty event id is not compared.
        """
        self._database, self._judge, self._schema = database, judge, database.schema
        self._known: dict[tuple[Any, ...], str] = {}
        moves = [each.format(onto_event=_ONTO_EVENT if is_beside_log else "") for each in (_MOVE, _MOVE_ALL)]
        texts = (*moves, _CHECKPOINT, _PLACES, _LIVE, _FITTING, _PARK, _UNPARK, _FIRST_ERRORS, _PARKED, ANSWER)
        placed = [in_schema(text, database.schema) for text in texts]
        self._move, self._move_all, self._checkpoint, self._places, self._live, self._fitting, *of_parked = placed
        self._park, self._unpark, self._first_errors, self._parked, self._answer = of_parked

    async def read_checkpoint(self, connection: Connection, projection: str) -> Checkpoint:
        """Return the least lane of what is read; the beginning when there is nothing."""
        found = await connection.fetchrow(self._checkpoint, projection)
        return Checkpoint(*found) if found is not None else Checkpoint()

    async def read_live(self, connection: Connection, projection: str) -> int:
        """Return the number of the generation that is read; 0 when there is none."""
        return await connection.fetchval(self._live, projection) or 0

    async def read_places(self, connection: Connection, projection: str, generation: int) -> list[Checkpoint]:
        """Return how far each lane of a generation is, by lane."""
        return [Checkpoint(*row) for row in await connection.fetch(self._places, projection, generation)]

    async def read_parked(self, connection: Connection, projection: str, generation: int) -> list[ParkedEvent]:
        """Return all parked events of a generation, by position."""
        return [ParkedEvent(*row) for row in await connection.fetch(self._parked, projection, generation)]

    async def load_rows(self, connection: Connection, generation: int, loads: Sequence[Load]) -> dict[str, list[Any]]:
        """Return the rows asked for, built, by table name; each row once, whatever how many loads ask for it.

        :raises StoreUnavailableError: the generation was dropped.
        """
        found: dict[str, list[Any]] = {}
        for table, wanted in by_table(loads):
            codec = codec_of(placed(table, generation), self._schema)
            try:
                rows = [row for load in wanted for row in await self._matching(connection, codec, load)]
            except asyncpg.UndefinedTableError as error:
                raise StoreUnavailableError(
                    f"{self._database}: the rows of generation {generation} are gone. See which one is worked on now."
                ) from error
            decode = codec.decode_all if len(wanted) == 1 else codec.decode_distinct  # distinct values, distinct rows
            found[table.name] = await _apart(len(rows), decode, rows)
        return found

    async def _matching(self, connection: Connection, codec: PostgresRowCodec, load: Load) -> list[Any]:
        values = codec.wanted(load)
        if not values:
            return []
        return await connection.fetch(codec.matching(load.columns), *_arrays(values))

    async def write_batch(self, connection: Connection, batch: ViewBatch, placing: Placing) -> None:
        """Write a batch and move the checkpoints of its lanes.

        :raises LostError: somebody else was there first, or released a parked key that this batch relies on.
        :raises RowChangedError: a row that it rests on is another, or gone.
        """
        if batch.guards:
            check_guards(batch.guards, await self.load_rows(connection, batch.generation, loads_of(batch.guards)))
        if not batch.moves:
            await self._write_rows(connection, batch)
        elif batch.script is None:
            await self.write_at_once(connection, batch)
        else:
            await self.write_at_once(connection, batch._replace(changes=()))
            await Script(connection, self._judge, batch.projection, placing).drive(batch.script, self._database)
            await self._write_rows(connection, batch)
        of_batch = (batch.projection, batch.generation)
        for key in batch.unparked:
            done = await connection.execute(self._unpark, *of_batch, key)
            if done == "DELETE 0":  # released already, its events applied: they may not be a second time (P1)
                raise LostError(is_released=True)
        if batch.answer is not None:
            await connection.execute(self._answer, batch.answer.outcome, batch.answer.request)
        if batch.parked:
            await self._put_aside(connection, batch)

    async def _put_aside(self, connection: Connection, batch: ViewBatch) -> None:
        rows = {(each.position, each.key): (each.lane, each.error) for each in batch.parked}
        of_batch, columns = (
            (batch.projection, batch.generation),
            (*zip(*rows, strict=True), *zip(*rows.values(), strict=True)),
        )
        await connection.execute(self._park, *of_batch, *map(list, columns))
        waiting = {each.key for each in batch.parked}
        found = await connection.fetch(self._first_errors, *of_batch, list(waiting))
        if any(not error for _, error in found):  # what it waits for was released
            raise LostError(is_released=True)

    async def moved(self, connection: Connection, batch: ViewBatch, lost: LostError) -> CheckpointMovedError:
        """Return which lane of a batch is elsewhere, and where; where none is, the log lacks the event."""
        places = await self.read_places(connection, batch.projection, batch.generation)
        for lane, epoch, expected in batch.moves:
            actual = places[lane] if lane < len(places) else Checkpoint(-1, -1)
            if (actual.epoch, actual.position) != (epoch, expected):
                return CheckpointMovedError(batch.projection, lane, expected, actual.position)
        lane, _, expected = batch.moves[0]
        return CheckpointMovedError(batch.projection, lane, expected, batch.position if lost.is_released else expected)

    async def write_at_once(self, connection: Connection, batch: ViewBatch) -> None:
        """Move the checkpoints and write the rows, all in one statement.

        :raises LostError: a lane did not move, and nothing is done; or the generation was dropped.
        :raises ValueDoesNotFitError: a value has no place.
        """
        changes = [(codec_of(placed(change.table, batch.generation), self._schema), change) for change in batch.changes]
        is_one = len(batch.moves) == 1
        which = (is_one, *[(id(codec), bool(change.deletes), bool(change.upserts)) for codec, change in changes])
        sql = self._known.get(which)
        if sql is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            sql = self._known[which] = self._at_once(changes, is_one=is_one)
        size = sum([len(change.upserts) + len(change.deletes) for _, change in changes])
        values = _moves(batch) + await _apart(size, _encoded, changes)
        try:
            count = await connection.fetchval(sql, *values)
        except asyncpg.UndefinedTableError as error:
            raise LostError from error
        except asyncpg.PostgresError as error:
            if _SOME_MOVED in str(error):
                raise LostError from error
            raise _unfit(error, [change.table for _, change in changes]) from error
        if count != len(batch.moves):
            raise LostError

    def _at_once(self, changes: Sequence[tuple[PostgresRowCodec, RowChanges]], *, is_one: bool) -> str:
        move, result = (self._move, "count(*)") if is_one else (self._move_all, _OR_NOTHING)
        parts, first, has_moved = [f"moved AS ({move} RETURNING 1)"], 9, "EXISTS (SELECT FROM moved)"
        for codec, change in changes:
            if change.deletes:
                parts.append(f"w{len(parts)} AS ({codec.delete(first, has_moved)})")
                first += len(codec.table.key)
            if change.upserts:
                parts.append(f"w{len(parts)} AS ({codec.upsert(first, has_moved)})")
                first += len(codec.names)
        return f"WITH {', '.join(parts)} SELECT {result} FROM moved"  # noqa: S608 - quoted names

    async def _write_rows(self, connection: Connection, batch: ViewBatch) -> None:
        for change in batch.changes:
            codec = codec_of(placed(change.table, batch.generation), self._schema)
            try:
                if change.deletes:
                    await connection.execute(codec.delete(1, "true"), *_arrays(map(codec.encode_key, change.deletes)))
                if change.upserts:
                    await connection.execute(codec.upsert(1, "true"), *_arrays(map(codec.encode, change.upserts)))
            except asyncpg.PostgresError as error:
                raise _unfit(error, [change.table]) from error

    async def fold_inline(
        self, connection: Connection, fold: Fold, events: Sequence[StoredEvent], head_before: int, known: Known
    ) -> bool:
        """Fold the events of one append into its projection's live rows, inside the append's transaction.

        Returns False, and does nothing, when that generation is not this code's, is paused, or is not at the head
        before the events: the asynchronous worker catches it up first. What it raises refuses the append; the caller
        undoes it.
        """
        if not events:
            return True
        held = await connection.fetchrow(self._fitting, fold.name, known.version, known.shape)
        if held is None or held[2] != head_before:
            return False
        generation, epoch, _ = held
        rows: Mapping[str, Sequence[Any]] = await self.load_rows(connection, generation, fold.loads(events))
        changes = fold.fold(events, rows)
        last, moves = events[-1], [LaneMove(0, epoch, head_before)]
        place = (last.position, last.event_id, last.recorded_at)
        batch = ViewBatch(fold.name, generation, moves, *place, changes, script=fold.script(events))
        await self.write_batch(connection, batch, known.placing(generation))
        return True


def _moves(batch: ViewBatch) -> list[Any]:
    to = [batch.projection, batch.generation, batch.position, batch.event_id, batch.recorded_at]
    if len(batch.moves) == 1:
        return [*to, *batch.moves[0]]
    return [*to, *_arrays(batch.moves)]


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
    table = plain_name(getattr(error, "table_name", None) or ", ".join(table.name for table in tables))
    return ValueDoesNotFitError(table, "a row", first_line(error))
