"""The rows of a lane's tasks: what waits, what is due, what was put aside.

Rule: it reads; writing is the turn's.
"""

from collections.abc import Sequence
from typing import Any, Final

from diptych.store.batches import Load
from diptych.store.protocols import EventStore
from diptych.store.tables import Table
from diptych.subscriptions.tasks import Task

_OPEN: Final = "lane = :lane AND kind <> 'timer' AND state IN ('waiting', 'taken') ORDER BY number"
_TIMER: Final = (  # events of its key that are still to be taken were in the log before it was due (S2)
    "lane = :lane AND state = 'waiting' AND kind = 'timer' AND key NOT IN "
    "(SELECT key FROM {table} WHERE lane = :lane AND state IN ('waiting', 'taken') AND kind = 'event')"
)
_DUE: Final = f"{_TIMER} AND due_at <= :now ORDER BY due_at, number LIMIT :most"
_NEXT: Final = f"{_TIMER} ORDER BY due_at LIMIT 1"
_PARKED: Final = "lane = :lane AND state = 'parked' ORDER BY number, changed_at"  # messages have no number
_OLD: Final = "lane = :lane AND state IN ('done', 'skipped') AND changed_at < :before LIMIT :most"


class Shelf:
    """Reads the tasks of one lane."""

    def __init__(self, store: EventStore, table: Table, lane: int) -> None:
        self._store, self._table, self._lane = store, table, lane
        columns = ", ".join(column.name for column in table.columns)
        self._select = f"SELECT {columns} FROM {table.name} WHERE "  # noqa: S608 - a checked name

    async def unfinished(self) -> Sequence[Task]:
        """Return what is to be done, and what was done and not taken note of; no timers."""
        return await self._read(_OPEN)

    async def due(self, now: int, most: int) -> Sequence[Task]:
        """Return timers whose time has come, the longest due first."""
        return await self._read(_DUE, now=now, most=most)

    async def next_due(self) -> int | None:
        """Return when the next timer is due; None if there is none."""
        found = await self._read(_NEXT)
        return found[0].due_at if found else None

    async def parked(self) -> Sequence[Task]:
        """Return all that was put aside."""
        return await self._read(_PARKED)

    async def outdated(self, before: int, most: int) -> Sequence[Task]:
        """Return outcomes that are older."""
        return await self._read(_OLD, before=before, most=most)

    async def _read(self, where: str, **values: Any) -> Sequence[Task]:
        async with self._store.inline.reader() as session:
            rows = await session.fetch(
                self._select + where.format(table=self._table.name), {"lane": self._lane, **values}
            )
            return session.decode(self._table, rows)


async def one_task(store: EventStore, table: Table, generation: int, id: Any) -> Task | None:
    """Return one task, or None if it is not owed."""
    found = (await store.inline.load(generation, [Load(table, ("id",), [(id,)])]))[table.name]
    return found[0] if found else None
