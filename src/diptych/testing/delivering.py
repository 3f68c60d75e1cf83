"""Delivers events to one projection, and checks that what comes of it does not depend on how they are delivered.

Twice: all in one batch; and each in a batch of its own, delivered once more after the first attempt was lost before its
commit (which is when Diptych delivers again), at another time and with other luck. The rows must be the same.

Rule: what is found is raised as a ProgrammingError that names the line.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple, TypeAlias

from diptych.errors import ProgrammingError
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.handlers import where
from diptych.projections.definition import define
from diptych.projections.fold import BatchFold
from diptych.projections.piece import piece
from diptych.projections.plan import Definition
from diptych.projections.projection import Projection
from diptych.store.batches import Load, RowChanges
from diptych.testing.scripting import run_script
from diptych.testing.tracing import Run, following, parting, remembering
from diptych.testing.values import quoted, short
from diptych.testing.worlds import world
from diptych.write.comparing import is_same

__tracebackhide__ = True  # pytest shows the line of the test, not ours

Kind: TypeAlias = type[Projection[Any]]
Rows: TypeAlias = dict[str, dict[Any, Any]]
"""Rows by their key (a tuple), by the name of their table."""


class Log(NamedTuple):
    """Events as they are stored, and what reads them."""

    codec: Codec
    rows: Sequence[StoredEvent]


_defined: dict[Kind, Definition] = {}


def defined(kind: Kind) -> Definition:
    """Compile a projection, once: it takes longer than a story."""
    if kind not in _defined:
        _defined[kind] = define(kind)
    return _defined[kind]


def deliver(kind: Kind, log: Log) -> Rows:
    """Return the rows that a projection makes of a log.

    :raises ProgrammingError: they depend on the time, on chance, on how often or in which batches events come.
    :raises EventFailure: the projection fails on an event.
    """
    definition = defined(kind)
    with world(0, kind.__module__):
        once = _deliver(definition, log, is_repeated=False)
    with world(1, kind.__module__):
        again = _deliver(definition, log, is_repeated=True)
    if not is_same(once, again):
        raise ProgrammingError(_told(kind, log, once, again))
    return once


def _deliver(definition: Definition, log: Log, *, is_repeated: bool) -> Rows:
    batches = [[row] for row in log.rows] if is_repeated else [log.rows]
    attempts = 2 if is_repeated else 1
    if definition.script is not None:
        return run_script(definition, log.codec, batches, attempts)
    tables: Rows = {keys.table.name: {} for keys in definition.sheets}
    for batch in batches:
        found: Sequence[RowChanges] = ()
        for _ in range(attempts):
            mine = piece(batch, definition.takes, log.codec)
            if mine.indexes:
                fold = BatchFold(definition, mine)
                loads = fold.loads()
                found = fold.run({load.table.name: _loaded(tables, loads, load) for load in loads})
        for changes in found:
            _apply(tables[changes.table.name], changes)
    return tables


def _loaded(tables: Rows, loads: Sequence[Load], of: Load) -> list[Any]:
    """Fetch the rows of one table that a batch asks for, each once; copies, as a store gives them."""
    table, found = tables[of.table.name], dict[Any, Any]()
    for load in [load for load in loads if load.table.name == of.table.name]:
        if load.columns == load.table.key:
            found |= {key: table[key] for key in load.values if key in table}
        else:
            found |= {key: row for key, row in table.items() if _values(row, load.columns) in load.values}
    return [deepcopy(row) for row in found.values()]


def _values(row: Any, columns: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(row, column) for column in columns)


def _apply(table: dict[Any, Any], changes: RowChanges) -> None:
    for key in changes.deletes:
        table.pop(key, None)
    for row in changes.upserts:
        table[_values(row, changes.table.key)] = deepcopy(row)


def _told(kind: Kind, log: Log, once: Rows, again: Rows) -> str:
    place, why = _fault(kind, log)
    table, key, before, after = next(_differences(once, again))
    shown = key[0] if len(key) == 1 else key
    return (
        f"{place}: {why.replace('. ', '.' + quoted(place), 1)}\n\n"
        f"    {table} {shown}, delivered once, in one batch:    {_row(before)}\n"
        f"    {table} {shown}, delivered again, one by one:     {_row(after)}"
    )


def _fault(kind: Kind, log: Log) -> tuple[str, str]:
    """Say where it is, and what is wrong there."""
    once = [_followed(kind, log, number) for number in (0, 1)]
    kept = remembering(once[0])
    if kept is not None:
        return kept.place, (
            f"{', '.join(kept.names)} outlives the event, so one that is delivered again counts twice. "
            "A projection remembers nothing but its rows: take what you need from the row, and return the row."
        )
    found = parting(*once)
    if found is not None:
        return found.place, (
            f"{kind.__name__} makes other rows when the same events are folded again. A projection is folded again "
            "whenever it is rebuilt: take times from meta.recorded_at, ids from the event or its stream."
        )
    return where(kind), (
        f"{kind.__name__} makes other rows when events are delivered again or in other batches. "
        "A row may depend on the event and on the row before, and on nothing else."
    )


def _followed(kind: Kind, log: Log, number: int) -> Run:
    definition = define(kind)  # anew: what an object remembers is not there yet
    with world(number, kind.__module__), following(kind) as run:
        _deliver(definition, log, is_repeated=False)
    return run


def _differences(once: Rows, again: Rows) -> Any:
    for table, rows in once.items():
        for key in [*rows, *(key for key in again[table] if key not in rows)]:
            if not is_same(rows.get(key), again[table].get(key)):
                yield table, key, rows.get(key), again[table].get(key)


def _row(row: Mapping[str, Any] | None) -> str:
    return "no row" if row is None else short(row)
