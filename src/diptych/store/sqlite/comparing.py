"""Two generations of a projection held against each other, on a connection with a snapshot.

Rule: rows are compared by the columns that both have, as they are kept, and found again by their key.
"""

from collections.abc import Sequence
from typing import Any, Final

import apsw

from diptych.store.generations import Comparison, Generation, TableDifference, placed_name
from diptych.store.rows import quoted

_PLACES: Final = "SELECT lane, position FROM projection_checkpoints WHERE projection = ? AND generation = ?"


def compare(connection: apsw.Connection, old: Generation, new: Generation, samples: int) -> Comparison:
    """Return how they differ. Tables that only one of them has are not compared."""
    places = [_places(connection, one) for one in (old, new)]
    positions = tuple(min(each.values(), default=0) for each in places)
    is_one = len({position for each in places for position in each.values()}) == 1 or places[0] == places[1]
    shared = [name for name in old.tables if name in new.tables]
    differences = [_table(connection, name, (old.number, new.number), samples) for name in shared]
    return Comparison(is_one, (positions[0], positions[1]), differences)


def _places(connection: apsw.Connection, one: Generation) -> dict[int, int]:
    rows: list[Any] = connection.execute(_PLACES, (one.projection, one.number)).fetchall()
    return dict(rows)


def _table(connection: apsw.Connection, table: str, numbers: tuple[int, int], samples: int) -> TableDifference:
    old, new = (quoted(placed_name(table, number)) for number in numbers)
    columns = [_columns(connection, placed_name(table, number)) for number in numbers]
    shared = [name for name, _ in columns[0] if name in dict(columns[1])]
    key = [name for name, place in sorted(columns[1], key=lambda each: each[1]) if place and name in shared]
    names, keys = (", ".join(map(quoted, each)) for each in (shared, key))
    count = "SELECT count(*) FROM {}"
    first, second = (connection.execute(count.format(side)).get for side in (old, new))
    if len(key) < sum(place > 0 for _, place in columns[1]):  # no row of one is known to be a row of the other
        return TableDifference(table, (first, second), first + second, [])
    one_side = f"SELECT {names} FROM {{}} EXCEPT SELECT {names} FROM {{}}"  # noqa: S608 - quoted
    differing = (
        f"SELECT {keys} FROM ({one_side.format(old, new)}) UNION SELECT {keys} FROM ({one_side.format(new, old)})"  # noqa: S608
    )
    total = connection.execute(f"SELECT count(*) FROM ({differing})").get  # noqa: S608 - quoted
    found = connection.execute(f"{differing} ORDER BY {keys} LIMIT ?", (samples,)).fetchall() if total else []
    where = " AND ".join(f"{quoted(name)} = ?" for name in key)
    select = f"SELECT {names} FROM {{}} WHERE {where}"  # noqa: S608 - quoted
    sides = [[_row(connection, select.format(side), shared, each) for side in (old, new)] for each in found]
    return TableDifference(
        table, (first, second), total, [(tuple(k), a, b) for k, (a, b) in zip(found, sides, strict=True)]
    )


def _columns(connection: apsw.Connection, table: str) -> list[tuple[str, int]]:
    """Names and places in the key (0: not in it)."""
    found: list[Any] = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (table,)).fetchall()
    return found


def _row(connection: apsw.Connection, sql: str, names: Sequence[str], key: Sequence[Any]) -> dict[str, Any] | None:
    found = connection.execute(sql, tuple(key)).fetchall()
    return dict(zip(names, found[0], strict=True)) if found else None
