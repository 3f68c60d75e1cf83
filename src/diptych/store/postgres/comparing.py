"""Two generations of a projection held against each other, on a connection with a snapshot.

Rule: rows are compared by the columns that both have, and found again by their key.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from diptych.store.generations import Comparison, Generation, TableDifference, placed_name
from diptych.store.postgres.connection import Connection
from diptych.store.postgres.migrations import in_schema
from diptych.store.postgres.rows import to_datetime, to_uuid
from diptych.store.rows import quoted

_PLACES: Final = """
SELECT lane, position FROM diptych.projection_checkpoints WHERE projection = $1 AND generation = $2
"""
_COLUMNS: Final = """
SELECT a.attname::text, format_type(a.atttypid, NULL), array_position(i.indkey::int2[], a.attnum) AS place
FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


async def compare(connection: Connection, schema: str, old: Generation, new: Generation, samples: int) -> Comparison:
    """Return how they differ. Tables that only one of them has are not compared."""
    sql = in_schema(_PLACES, schema)
    places: list[dict[int, int]] = [
        dict(map(tuple, await connection.fetch(sql, one.projection, one.number))) for one in (old, new)
    ]
    first, second = (min(each.values(), default=0) for each in places)
    is_one = len({position for each in places for position in each.values()}) == 1 or places[0] == places[1]
    shared = [name for name in old.tables if name in new.tables]
    differences = [
        await _difference(connection, await _pair(connection, schema, name, (old.number, new.number)), samples)
        for name in shared
    ]
    return Comparison(is_one, (first, second), differences)


class _Pair(NamedTuple):
    """A table in two generations: what to select of each to compare them, and how their rows find each other.

    Where one has another key than the other, `key` is empty.
    """

    table: str
    places: tuple[str, str]
    names: Sequence[str]
    key: Sequence[str]
    selects: tuple[str, str]


async def _pair(connection: Connection, schema: str, table: str, numbers: tuple[int, int]) -> _Pair:
    old, new = (f"{quoted(schema)}.{quoted(placed_name(table, number))}" for number in numbers)
    mine, theirs = [
        {name: (type_, place) for name, type_, place in await connection.fetch(_COLUMNS, side)} for side in (old, new)
    ]
    names = [name for name in mine if name in theirs]
    keyed = sorted((place, name) for name, (_, place) in theirs.items() if place is not None)
    key = [name for _, name in keyed] if all(name in mine for _, name in keyed) else []
    as_text = {name for name in names if mine[name][0] != theirs[name][0] or mine[name][0] == "json"}
    columns = ", ".join(f"{quoted(name)}::text" if name in as_text else quoted(name) for name in names)
    selects = (f"SELECT {columns} FROM {old}", f"SELECT {columns} FROM {new}")  # noqa: S608 - quoted names
    return _Pair(table, (old, new), names, key, selects)


async def _difference(connection: Connection, pair: _Pair, samples: int) -> TableDifference:
    first, second = [await connection.fetchval(f"SELECT count(*) FROM {place}") for place in pair.places]  # noqa: S608
    if not pair.key:  # no row of one is known to be a row of the other
        return TableDifference(pair.table, (first, second), first + second, [])
    keys = ", ".join(map(quoted, pair.key))
    rest = [quoted(name) for name in pair.names if name not in pair.key]
    sides = [", ".join(f"{side}.{name}" for name in rest) for side in ("o", "n")]
    one = quoted(pair.key[0])
    is_other = f" OR ({sides[0]}) IS DISTINCT FROM ({sides[1]})" if rest else ""
    differing = (
        f"SELECT DISTINCT {keys} FROM ({pair.selects[0]}) o FULL JOIN ({pair.selects[1]}) n USING ({keys}) "  # noqa: S608
        f"WHERE o.{one} IS NULL OR n.{one} IS NULL{is_other}"
    )
    total = await connection.fetchval(f"SELECT count(*) FROM ({differing}) d")  # noqa: S608 - quoted names
    found = await connection.fetch(f"{differing} ORDER BY {keys} LIMIT {samples}") if total else []
    where = " AND ".join(f"s.{quoted(name)} = ${number}" for number, name in enumerate(pair.key, 1))
    shown = []
    for key in found:
        old, new = [
            await connection.fetchrow(f"SELECT * FROM ({select}) s WHERE {where}", *key)  # noqa: S608 - quoted names
            for select in pair.selects
        ]
        shown.append((tuple(map(_plain, key)), _row(old), _row(new)))
    return TableDifference(pair.table, (first, second), total, shown)


def _row(record: Any) -> dict[str, Any] | None:
    return None if record is None else {name: _plain(value) for name, value in record.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return to_uuid(value)
    return to_datetime(value) if isinstance(value, datetime) else value
