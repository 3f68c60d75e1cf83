"""The rows that a batch rests on: which to load, and whether they are what its writer believed.

Rule: pure, so that every backend judges alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from diptych.errors import RowChangedError
from diptych.store.batches import Load, RowGuard


def loads_of(guards: Sequence[RowGuard]) -> list[Load]:
    """Say which rows are to be looked at."""
    return [Load(one.table, one.table.key, [one.key]) for one in guards]


def check_guards(guards: Sequence[RowGuard], rows: Mapping[str, Sequence[Any]]) -> None:
    """Look at the rows, by table name. :raises RowChangedError: one is another, or gone."""
    for table, key, column, value in guards:
        found = [row for row in rows[table.name] if tuple(getattr(row, name) for name in table.key) == key]
        is_so = not found if not column else bool(found) and getattr(found[0], column) == value
        if not is_so:
            raise RowChangedError(table.name, key, column, value)
