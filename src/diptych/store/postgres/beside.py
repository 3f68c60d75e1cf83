"""What commits beside the appends of a group, in as few round trips as its order allows.

Rule: pure; what is put together has nothing to do with each other, so that no guard misses what one before it changed.
"""

from collections.abc import Hashable, Iterable, Sequence

from diptych.store.batches import RowChanges, ViewBatch
from diptych.store.tables import Table


def together(batches: Iterable[ViewBatch]) -> list[ViewBatch]:
    """Put those together that follow one another, are only rows and guards, and touch each a row of its own."""
    runs: list[list[ViewBatch]] = []
    touched: set[Hashable] = set()
    for batch in batches:
        own = _rows_of(batch)
        if runs and _is_like(runs[-1][0], batch) and touched.isdisjoint(own):
            runs[-1].append(batch)
            touched |= own
        else:
            runs.append([batch])
            touched = own
    return [run[0] if len(run) == 1 else _one_of(run) for run in runs]


def _is_like(first: ViewBatch, other: ViewBatch) -> bool:
    is_same = (first.projection, first.generation) == (other.projection, other.generation)
    return is_same and _is_plain(first) and _is_plain(other)


def _is_plain(batch: ViewBatch) -> bool:
    return not (batch.moves or batch.script or batch.parked or batch.unparked or batch.answer)


def _rows_of(batch: ViewBatch) -> set[Hashable]:
    found: set[Hashable] = {(guard.table.name, guard.key) for guard in batch.guards}
    for table, upserts, deletes in batch.changes:
        found.update((table.name, tuple([getattr(row, name) for name in table.key])) for row in upserts)
        found.update((table.name, tuple(key)) for key in deletes)
    return found


def _one_of(run: Sequence[ViewBatch]) -> ViewBatch:
    changes: dict[Table, RowChanges] = {}
    for batch in run:
        for change in batch.changes:
            known = changes.setdefault(change.table, RowChanges(change.table, [], []))
            changes[change.table] = RowChanges(
                change.table, [*known.upserts, *change.upserts], [*known.deletes, *change.deletes]
            )
    guards = [guard for batch in run for guard in batch.guards]
    return run[0]._replace(changes=list(changes.values()), guards=guards)
