"""Keys of rows as the fold compares them: a UUID as its text, since that is how streams carry theirs.

Rule: `Key` values here are only compared and hashed; what goes to a store is made by `values`.
"""

from collections.abc import Callable, Hashable
from operator import attrgetter
from typing import Any

from diptych.store.tables import Kind, Table
from diptych.stream import uuid_of, uuid_text


class RowKeys:
    """How rows of one table are told apart in memory."""

    __slots__ = ("_are_uuids", "field", "of_row", "of_values", "table")

    of_row: Callable[[Any], Hashable]
    of_values: Callable[[tuple[Any, ...]], Hashable]

    def __init__(self, table: Table) -> None:
        self.table = table
        self._are_uuids = tuple(table.column(name).kind is Kind.UUID for name in table.key)
        self.field: Callable[[Any], Any] | None = attrgetter(table.key[0]) if len(table.key) == 1 else None
        self.of_values, self.of_row = self._single() if len(table.key) == 1 else self._several()

    def values(self, key: Any) -> tuple[Any, ...]:
        """Return a key as a store takes it: a tuple of Python values in the order of the table's key."""
        parts = (key,) if len(self._are_uuids) == 1 else key
        return tuple([uuid_of(part) if is_uuid else part for part, is_uuid in zip(parts, self._are_uuids, strict=True)])

    def _single(self) -> tuple[Callable[[tuple[Any, ...]], Hashable], Callable[[Any], Hashable]]:
        field = attrgetter(self.table.key[0])
        if self._are_uuids[0]:
            return lambda values: str(values[0]), lambda row: uuid_text(field(row))
        return lambda values: values[0], field

    def _several(self) -> tuple[Callable[[tuple[Any, ...]], Hashable], Callable[[Any], Hashable]]:
        fields, are_uuids = attrgetter(*self.table.key), self._are_uuids

        def of_values(values: tuple[Any, ...]) -> Hashable:
            return tuple([str(v) if is_uuid else v for v, is_uuid in zip(values, are_uuids, strict=True)])

        return of_values, lambda row: of_values(fields(row))


def comparable(kind: Kind) -> Callable[[Any], Hashable]:
    """Return what makes a column's value comparable in memory, as `RowKeys` does for keys."""
    return str if kind is Kind.UUID else _itself


def _itself(value: Any) -> Hashable:
    found: Hashable = value
    return found
