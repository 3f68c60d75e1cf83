"""What happens to rows on a connection: loading them, and writing a batch with its checkpoint.

Rule: all of it synchronous, on one connection; who owns the transaction is the caller's business.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import apsw

from diptych.errors import CheckpointMovedError, ValueDoesNotFitError
from diptych.events.recorded import StoredEvent
from diptych.store.batches import Checkpoint, Fold, Load, ParkedEvent, RowChanges, ViewBatch
from diptych.store.protocols import CheckpointMove
from diptych.store.rows import by_table, quoted
from diptych.store.sqlite.rows import SqliteRowCodec, codec_of
from diptych.store.sqlite.script import ScriptDb
from diptych.store.tables import Table

_CHUNKS: Final = (1, 8, 64, 512)  # few sizes, so that few statements are prepared
_UPSERTS: Final = (256, 64, 16, 4, 1)
_MOST_VALUES: Final = 30_000  # in one statement; SQLite takes 32,766
_CHECKPOINT: Final = (
    "SELECT position, epoch, event_id, recorded_at FROM projection_checkpoints WHERE projection = ? AND lane = ?"
)
_MOVE: Final = (
    "UPDATE projection_checkpoints SET position = ?, event_id = ?, recorded_at = ? "
    "WHERE projection = ? AND lane = ? AND tenant = '' AND epoch = ? AND position = ?"
)
_BEGIN_LANE: Final = "INSERT INTO projection_checkpoints VALUES (?, ?, '', ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_PARK: Final = "INSERT INTO parked_events VALUES (?, ?, ?, '', ?) ON CONFLICT DO UPDATE SET error = excluded.error"
_UNPARK: Final = "DELETE FROM parked_events WHERE projection = ? AND key = ?"
_FIRST_ERROR: Final = "SELECT error FROM parked_events WHERE projection = ? AND key = ? ORDER BY position LIMIT 1"
_PARKED: Final = "SELECT key, position, error FROM parked_events WHERE projection = ? ORDER BY position, key"


def read_checkpoint(connection: apsw.Connection, projection: str, lane: int = 0) -> Checkpoint:
    """Return how far a projection is; the beginning when it never moved."""
    found: list[Any] = connection.execute(_CHECKPOINT, (projection, lane)).fetchall()
    return Checkpoint(*found[0]) if found else Checkpoint()


def read_parked(connection: apsw.Connection, projection: str) -> list[ParkedEvent]:
    """Return all parked events of a projection, by position."""
    return [ParkedEvent(*row) for row in connection.execute(_PARKED, (projection,))]


def load_rows(connection: apsw.Connection, loads: Sequence[Load]) -> dict[str, list[Any]]:
    """Return the rows asked for, built, by table name; each row once, whatever how many loads ask for it."""
    found: dict[str, list[Any]] = {}
    for table, wanted in by_table(loads):
        codec = codec_of(table)
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


def write_batch(connection: apsw.Connection, batch: ViewBatch, tables: Sequence[Table]) -> None:
    """Write a batch and move its checkpoint.

    :raises CheckpointMovedError: somebody else was there first, or has released a parked key that this batch relies on.
    """
    move_checkpoint(connection, batch.checkpoint, batch.recorded_at)
    if batch.script is not None:
        ScriptDb(connection, batch.projection, tables).drive(batch.script)
    write_rows(connection, batch.changes)
    for key in batch.unparked:
        connection.execute(_UNPARK, (batch.projection, key))
        if not connection.changes():  # released already, its events applied: they may not be a second time (P1)
            raise _moved(connection, batch.checkpoint)
    if batch.parked:
        rows = [(batch.projection, each.position, each.key, each.error) for each in batch.parked]
        connection.executemany(_PARK, rows)
        for key in {each.key for each in batch.parked}:
            if not connection.execute(_FIRST_ERROR, (batch.projection, key)).get:  # what it waits for was released
                raise _moved(connection, batch.checkpoint)


def move_checkpoint(connection: apsw.Connection, move: CheckpointMove, recorded_at: int) -> None:
    """Compare and set. :raises CheckpointMovedError: it stands elsewhere, or under another epoch."""
    connection.execute(
        _MOVE, (move.position, move.event_id, recorded_at, move.name, move.lane, move.epoch, move.expected)
    )
    if connection.changes():
        return
    if move.expected == 0:
        values = (move.name, move.lane, move.epoch, move.position, move.event_id, recorded_at)
        connection.execute(_BEGIN_LANE, values)
        if connection.changes():
            return
    raise _moved(connection, move)


def _moved(connection: apsw.Connection, move: CheckpointMove) -> CheckpointMovedError:
    actual = read_checkpoint(connection, move.name, move.lane)
    return CheckpointMovedError(move.name, move.lane, move.expected, actual.position)


def write_rows(connection: apsw.Connection, changes: Sequence[RowChanges]) -> None:
    """Delete and upsert, one statement each for a table. :raises ValueDoesNotFitError: a value has no place."""
    for change in changes:
        codec = codec_of(change.table)
        try:
            if change.deletes:
                connection.executemany(codec.delete, map(codec.encode_key, change.deletes))
            for size, values in _chunks(list(map(codec.encode, change.upserts)), len(codec.names)):
                connection.execute(codec.upsert(size), values)
        except (apsw.ConstraintError, apsw.MismatchError, OverflowError) as error:
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
    tables: Callable[[str], Sequence[Table]],
) -> bool:
    """Fold the events of one append into its projection's rows, inside the append's transaction.

    Returns False, and does nothing, when the projection is not at the head before them: the asynchronous worker
    catches it up first. What it raises refuses the append; the caller undoes it.
    """
    if not events:
        return True
    checkpoint = read_checkpoint(connection, fold.name)
    if checkpoint.position != head_before:
        return False
    rows: Mapping[str, Sequence[Any]] = load_rows(connection, fold.loads(events))
    changes = fold.fold(events, rows)
    last = events[-1]
    move = CheckpointMove(fold.name, 0, checkpoint.epoch, head_before, last.position, last.event_id)
    write_batch(
        connection, ViewBatch(fold.name, move, last.recorded_at, changes, script=fold.script(events)), tables(fold.name)
    )
    return True
