"""Filters and orders of typed reads, as the part of a SELECT after the table's name.

Rule: names come from the table, never from the caller's text; values are always bound (I3).
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from diptych.errors import ProgrammingError
from diptych.store.tables import Bound, Column, Kind, Table

_COMPARISONS: Final = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "in": "IN"}


class Conditions(NamedTuple):
    """`text` is empty or begins with WHERE. `parameters` are the values, each bound as its column."""

    text: str
    parameters: Mapping[str, Bound]


class Order(NamedTuple):
    """One column of an order."""

    column: Column
    is_descending: bool

    @property
    def sql(self) -> str:
        """As it stands after ORDER BY. None comes before every value, on every backend."""
        nulls = f" NULLS {'LAST' if self.is_descending else 'FIRST'}" if self.column.is_nullable else ""
        return f'"{self.column.name}" {"DESC" if self.is_descending else "ASC"}{nulls}'


def conditions(table: Table, filters: Mapping[str, Any]) -> Conditions:
    """Compile keyword filters: `status=...`, `created_at__ge=...`, `status__in=[...]`, all of which must hold.

    :raises ProgrammingError: no such column or comparison, or None for a column that is never None.
    """
    texts: list[str] = []
    names = {column.name for column in table.columns}
    parameters: dict[str, Bound] = {}
    for word, value in filters.items():
        name, _, comparison = (word, "", "") if word in names else word.rpartition("__")
        column = column_named(table, name or comparison, word)
        if column.kind is Kind.JSON:
            raise ProgrammingError(f"{table.name}.{name} is kept as JSON and cannot be filtered by. Give it a column.")
        operator = _COMPARISONS.get(comparison or "eq")
        if operator is None:
            known = ", ".join(f"{name}__{each}" for each in _COMPARISONS)
            raise ProgrammingError(f"{table.name}: there is no comparison {word}. There are {known}.")
        texts.append(_condition(table, column, operator, value, parameters))
    return Conditions(f" WHERE {' AND '.join(texts)}" if texts else "", parameters)


def _condition(table: Table, column: Column, operator: str, value: Any, parameters: dict[str, Bound]) -> str:
    if operator == "IN":
        among = [value] if isinstance(value, str | bytes) else list(value)
        if among == [value] or None in among:
            raise ProgrammingError(f"{table.name}.{column.name}__in takes a list without None, not {value!r}.")
        places = [_place(parameters, column, each) for each in among]
        if not places:
            return "FALSE"
        return f'"{column.name}" IN ({", ".join(places)})'
    if value is not None:
        return f'"{column.name}" {operator} {_place(parameters, column, value)}'
    if not column.is_nullable or operator not in ("=", "<>"):
        raise ProgrammingError(
            f"{table.name}.{column.name} is compared with None, which matches no row. "
            f"For a filter that may be absent write **given({column.name}=...)."
        )
    return f'"{column.name}" IS {"NOT " if operator == "<>" else ""}NULL'


def _place(parameters: dict[str, Bound], column: Column, value: Any) -> str:
    name = f"p{len(parameters)}"
    parameters[name] = Bound(column, value)
    return f":{name}"


def column_named(table: Table, name: str, given: str | None = None) -> Column:
    """Return a column by name. :raises ProgrammingError: there is none; the sentence says which is meant."""
    for column in table.columns:
        if column.name == name:
            return column
    names = [column.name for column in table.columns]
    close = get_close_matches(name, names, 1)
    hint = f"Did you mean {close[0]}?" if close else f"It has {', '.join(names)}."
    raise ProgrammingError(f"{table.name} has no column {given or name}. {hint}")


def orders(table: Table, order_by: str | Sequence[str] | None) -> list[Order]:
    """Compile `"-created_at"` or several such names; a leading `-` is descending."""
    names = [order_by] if isinstance(order_by, str) else list(order_by or ())
    found = [Order(column_named(table, name.removeprefix("-"), name), name.startswith("-")) for name in names]
    for each in found:
        if each.column.kind is Kind.JSON:
            raise ProgrammingError(f"{table.name}.{each.column.name} is kept as JSON, which has no order.")
    return found


def total_orders(table: Table, order_by: str | Sequence[str] | None) -> list[Order]:
    """Compile an order for pages: completed by the key, so that no two rows are equal in it."""
    found = orders(table, order_by)
    for each in found:
        if each.column.is_nullable:
            raise ProgrammingError(
                f"{table.name}.{each.column.name}: pages are ordered by columns that are never None."
            )
    is_descending = bool(found) and found[-1].is_descending
    names = {each.column.name for each in found}
    found.extend(Order(table.column(name), is_descending) for name in table.key if name not in names)
    return found


def after(order: Sequence[Order], start: int) -> str:
    """Return the condition for rows that come after the values of parameters `:c<start>` on."""
    places = [f":c{start + number}" for number in range(len(order))]
    if len({each.is_descending for each in order}) == 1:
        names = ", ".join(f'"{each.column.name}"' for each in order)
        return f"({names}) {'<' if order[0].is_descending else '>'} ({', '.join(places)})"
    alternatives = []
    for number, each in enumerate(order):
        equal = [f'"{other.column.name}" = {place}' for other, place in zip(order[:number], places, strict=False)]
        equal.append(f'"{each.column.name}" {"<" if each.is_descending else ">"} {places[number]}')
        alternatives.append(f"({' AND '.join(equal)})")
    return f"({' OR '.join(alternatives)})"
