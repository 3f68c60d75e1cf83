"""What happens to rows on a connection: loading them, and writing a batch with its checkpoint.

Rule: all of it synchronous, on one connection; who owns the transaction is the caller's business.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import apsw

from diptych.errors import CheckpointMovedError, ValueDoesNotFitError
from diptych.events.recorded import StoredEvent
from diptych.store.batches import Checkpoint, Fold, LaneMove, Load, ParkedEvent, RowChanges, ViewBatch
from diptych.store.generations import placed
from diptych.store.guarding import check_guards, loads_of
from diptych.store.placing import Known, Placing
from diptych.store.rows import by_table, quoted
from diptych.store.sqlite.connection import MOVED
from diptych.store.sqlite.rows import SqliteRowCodec, codec_of
from diptych.store.sqlite.script import ScriptDb
from diptych.store.sqlite.shapes import NOW

_CHUNKS: Final = (1, 8, 64, 512)  # few sizes, so that few statements are prepared
_UPSERTS: Final = (256, 64, 16, 4, 1)
_MOST_VALUES: Final = 30_000  # in one statement; SQLite takes 32,766
_PLACES: Final = (
    "SELECT position, epoch, event_id, recorded_at FROM projection_checkpoints "
    "WHERE projection = ? AND generation = ? ORDER BY lane"
)
_SET: Final = (
    "UPDATE projection_checkpoints SET position = ?, event_id = ?, recorded_at = ?, attempt = 0, trouble = '' "
    "WHERE projection = ? AND generation = ? AND tenant = '' AND "
)
_PARK: Final = (
    "INSERT INTO parked_events (projection, generation, position, key, lane, error) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET error = excluded.error"
)
_OF_KEY: Final = "WHERE projection = ? AND generation = ? AND key = ?"
ANSWER: Final = "UPDATE projection_requests SET outcome = ? WHERE id = ?"
_UNPARK: Final = f"DELETE FROM parked_events {_OF_KEY}"  # noqa: S608 - a constant
_FIRST_ERROR: Final = f"SELECT error FROM parked_events {_OF_KEY} ORDER BY position LIMIT 1"  # noqa: S608 - a constant
_PARKED: Final = (
    "SELECT key, position, error, lane FROM parked_events WHERE projection = ? AND generation = ? "
    "ORDER BY position, key"
)
_LIVE: Final = "SELECT live FROM projections WHERE projection = ?"
_FITTING: Final = f"""
    SELECT g.generation, c.epoch, c.position FROM projections p
    JOIN projection_generations g ON g.generation = p.live
    JOIN projection_checkpoints c ON c.projection = p.projection AND c.generation = p.live AND c.lane = 0
    WHERE p.projection = ? AND g.version = ? AND g.shape = ? AND g.lanes = 1
        AND (p.paused_until IS NULL OR p.paused_until BETWEEN 1 AND {NOW})"""  # noqa: S608 - a constant


def read_live(connection: apsw.Connection, projection: str) -> int:
    """Return the number of the generation that is read; 0 when there is none."""
    found: int | None = connection.execute(_LIVE, (projection,)).get
    return found or 0


def read_places(connection: apsw.Connection, projection: str, generation: int) -> list[Checkpoint]:
    """Return how far each lane of a generation is, by lane."""
    return [Checkpoint(*row) for row in connection.execute(_PLACES, (projection, generation))]


def read_parked(connection: apsw.Connection, projection: str, generation: int) -> list[ParkedEvent]:
    """Return all parked events of a generation, by position."""
    return [ParkedEvent(*row) for row in connection.execute(_PARKED, (projection, generation))]


def load_rows(connection: apsw.Connection, loads: Sequence[Load], generation: int) -> dict[str, list[Any]]:
    """Return the rows asked for, built, by table name; each row once, whatever how many loads ask for it."""
    found: dict[str, list[Any]] = {}
    for table, wanted in by_table(loads):
        codec = codec_of(placed(table, generation))
        rows = (row for load in wanted for row in _matching(connection, codec, load))
        # distinct values match distinct rows
        found[table.name] = codec.decode_all(rows) if len(wanted) == 1 else codec.decode_distinct(rows)
    return found


def _matching(connection: apsw.Connection, codec: SqliteRowCodec, load: Load) -> Iterator[tuple[Any, ...]]:
    values = codec.wanted(load)
    width = len(load.columns)
    names = ", ".join(map(quoted, load.columns))
    start = 0
    while start < len(values):
        size = next((each for each in _CHUNKS if each >= len(values) - start), _CHUNKS[-1])
        chunk = values[start : start + size]
        start += size
        chunk += [chunk[-1]] * (size - len(chunk))
        if width == 1:
            condition = f"{names} = ?" if size == 1 else f"{names} IN ({', '.join('?' * size)})"
        else:
            one = f"({', '.join('?' * width)})"
            condition = f"({names}) IN (VALUES {', '.join([one] * size)})"
        yield from connection.execute(f"{codec.select} WHERE {condition}", [each for value in chunk for each in value])


def write_batch(connection: apsw.Connection, batch: ViewBatch, placing: Placing) -> None:
    """Write a batch and move the checkpoints of its lanes.

    :raises CheckpointMovedError: somebody else was there first, or has released a parked key that this batch relies on.
    :raises RowChangedError: a row that it rests on is another, or gone.
    """
    if batch.guards:
        check_guards(batch.guards, load_rows(connection, loads_of(batch.guards), batch.generation))
    move_checkpoints(connection, batch)
    if batch.script is not None:
        ScriptDb(connection, batch.projection, placing).drive(batch.script)
    write_rows(connection, batch.changes, batch.generation)
    key_of = (batch.projection, batch.generation)
    for key in batch.unparked:
        connection.execute(_UNPARK, (*key_of, key))
        if not connection.changes():  # released already, its events applied: they may not be a second time (P1)
            raise _moved(connection, batch)
    if batch.answer is not None:
        connection.execute(ANSWER, (batch.answer.outcome, batch.answer.request))
    if batch.parked:
        rows = [(*key_of, each.position, each.key, each.lane, each.error) for each in batch.parked]
        connection.executemany(_PARK, rows)
        for key in {each.key for each in batch.parked}:
            if not connection.execute(_FIRST_ERROR, (*key_of, key)).get:  # what it waits for was released
                raise _moved(connection, batch)


def move_checkpoints(connection: apsw.Connection, batch: ViewBatch) -> None:
    """Compare and set, all lanes or none. :raises CheckpointMovedError: one stands elsewhere, or has another epoch."""
    if not batch.moves:
        return
    to = (batch.position, batch.event_id, batch.recorded_at, batch.projection, batch.generation)
    connection.execute(_move(len(batch.moves)), (*to, *chain.from_iterable(batch.moves)))
    if connection.changes() != len(batch.moves):
        raise _moved(connection, batch)


@lru_cache(maxsize=64)
def _move(lanes: int) -> str:
    if lanes == 1:
        return f"{_SET} lane = ? AND epoch = ? AND position = ?"
    return f"{_SET} (lane, epoch, position) IN (VALUES {', '.join(['(?, ?, ?)'] * lanes)})"


def _moved(connection: apsw.Connection, batch: ViewBatch) -> CheckpointMovedError:
    places = read_places(connection, batch.projection, batch.generation)
    for lane, epoch, expected in batch.moves:
        actual = places[lane] if lane < len(places) else Checkpoint(-1, -1)
        if actual.epoch != epoch or actual.position not in (expected, batch.position):  # or it was just moved, in vain
            return CheckpointMovedError(batch.projection, lane, expected, actual.position)
    return CheckpointMovedError(batch.projection, batch.moves[0].lane, batch.moves[0].expected, batch.position)


def write_rows(connection: apsw.Connection, changes: Sequence[RowChanges], generation: int) -> None:
    """Delete and upsert, one statement each for a table. :raises ValueDoesNotFitError: a value has no place."""
    for change in changes:
        codec = codec_of(placed(change.table, generation))
        try:
            if change.deletes:
                connection.executemany(codec.delete, map(codec.encode_key, change.deletes))
            for size, values in _chunks(list(map(codec.encode, change.upserts)), len(codec.names)):
                connection.execute(codec.upsert(size), values)
        except (apsw.ConstraintError, apsw.MismatchError, OverflowError) as error:
            if MOVED in str(error):
                raise  # no row has a place there any more
            raise ValueDoesNotFitError(change.table.name, "a row", str(error)) from error


def _chunks(rows: Sequence[Sequence[Any]], width: int) -> Iterator[tuple[int, list[Any]]]:
    """Yield rows in a few sizes, each in one list: a statement for many rows gives Python's lock up only once."""
    start, most = 0, max(_MOST_VALUES // width, 1)
    while start < len(rows):
        size = next(each for each in _UPSERTS if each <= min(len(rows) - start, most))
        yield size, list(chain.from_iterable(rows[start : start + size]))
        start += size


def fold_inline(
    connection: apsw.Connection,
    fold: Fold,
    events: Sequence[StoredEvent],
    head_before: int,
    known: Known,
) -> bool:
    """Fold the events of one append into its projection's live rows, inside the append's transaction.

    Returns False, and does nothing, when that generation is not this code's, is paused, or is not at the head before
    the events: the asynchronous worker catches it up first. What it raises refuses the append; the caller undoes it.
    """
    if not events:
        return True
    found: list[Any] = connection.execute(_FITTING, (fold.name, known.version, known.shape)).fetchall()
    if not found or found[0][2] != head_before:
        return False
    generation, epoch, _ = found[0]
    rows: Mapping[str, Sequence[Any]] = load_rows(connection, fold.loads(events), generation)
    changes = fold.fold(events, rows)
    last, moves = events[-1], [LaneMove(0, epoch, head_before)]
    place = (last.position, last.event_id, last.recorded_at)
    batch = ViewBatch(fold.name, generation, moves, *place, changes, script=fold.script(events))
    write_batch(connection, batch, known.placing(generation))
    return True
