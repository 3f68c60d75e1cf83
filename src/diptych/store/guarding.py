"""The rows that a batch rests on: which to load, and whether they are what its writer believed.

Rule: pure, so that every backend judges alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from diptych.errors import RowChangedError
from diptych.store.batches import Load, RowGuard
from diptych.store.tables import Table


def loads_of(guards: Sequence[RowGuard]) -> list[Load]:
    """Say which rows are to be looked at: of each table at once."""
    keys: dict[Table, dict[tuple[Any, ...], None]] = {}
    for one in guards:
        keys.setdefault(one.table, {})[one.key] = None
    return [Load(table, table.key, list(wanted)) for table, wanted in keys.items()]


def check_guards(guards: Sequence[RowGuard], rows: Mapping[str, Sequence[Any]]) -> None:
    """Look at the rows, by table name. :raises RowChangedError: one is another, or gone."""
    known = {
        (table.name, tuple([getattr(row, name) for name in table.key])): row
        for table in {one.table for one in guards}
        for row in rows[table.name]
    }
    for table, key, column, value in guards:
        row = known.get((table.name, key))
        is_so = row is None if not column else row is not None and getattr(row, column) == value
        if not is_so:
            raise RowChangedError(table.name, key, column, value)
