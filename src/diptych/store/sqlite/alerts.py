"""The records of alerts in a file of rows.

Rule: looked at and changed in one task of the writer, so that of several processes one makes each change.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

import apsw

from diptych.store.alerts import Alert, AlertChange, Change, Firing
from diptych.store.sqlite.shapes import NOW
from diptych.store.sqlite.writer import Task

_COLUMNS: Final = "id, projection, kind, message, value, raised_at, updated_at, resolved_at"
_OPEN: Final = f"SELECT {_COLUMNS} FROM alerts WHERE resolved_at IS NULL ORDER BY id"  # noqa: S608 - a constant
_RAISE: Final = f"""
    INSERT INTO alerts (projection, kind, message, value, raised_at, updated_at)
    VALUES (?, ?, ?, ?, {NOW}, {NOW}) RETURNING {_COLUMNS}"""  # noqa: S608 - constants
_UPDATE: Final = f"""
    UPDATE alerts SET message = ?, value = ?, updated_at = {NOW}
    WHERE id = ? AND updated_at <= {NOW} - ? RETURNING {_COLUMNS}"""  # noqa: S608 - constants
_RESOLVE: Final = f"UPDATE alerts SET resolved_at = {NOW} WHERE id = ? RETURNING {_COLUMNS}"  # noqa: S608 - constants
_RECENT: Final = (
    f"SELECT {_COLUMNS} FROM alerts WHERE (?1 IS NULL OR projection = ?1) "  # noqa: S608 - a constant
    "AND (NOT ?2 OR resolved_at IS NULL) ORDER BY id DESC LIMIT ?3"
)


class SqliteAlerts:
    """The records of one view store. `submit` gives a task to its writer."""

    def __init__(self, submit: Callable[[Task[Any]], Awaitable[Any]]) -> None:
        self._submit = submit

    async def reconcile(
        self, firing: Sequence[Firing], among: Collection[str], *, update_after: float
    ) -> Sequence[AlertChange]:
        """Bring the records of these projections in line with what fires now. Returns what was done."""
        patience = int(update_after * 1_000_000)

        def work(connection: apsw.Connection) -> list[AlertChange]:
            open_ = {(row[1], row[2]): Alert(*row) for row in connection.execute(_OPEN) if row[1] in among}
            changes: list[AlertChange] = []
            for one in firing:
                known = open_.pop((one.projection, one.kind), None)
                if known is None:
                    values = (one.projection, one.kind, one.message, one.value)
                    changes += _changed(connection, "raised", _RAISE, values)
                elif known.message != one.message:
                    changes += _changed(connection, "updated", _UPDATE, (one.message, one.value, known.id, patience))
            for gone in open_.values():
                changes += _changed(connection, "resolved", _RESOLVE, (gone.id,))
            return changes

        done: list[AlertChange] = await self._submit(Task(work))
        return done

    async def recent(
        self, projection: str | None = None, *, is_open: bool = False, limit: int = 100
    ) -> Sequence[Alert]:
        """Return the last records, newest first; only those that last with `is_open`."""
        values = (projection, is_open, limit)
        found: list[Alert] = await self._submit(
            Task(lambda connection: [Alert(*row) for row in connection.execute(_RECENT, values)])
        )
        return found


def _changed(connection: apsw.Connection, change: Change, sql: str, values: tuple[Any, ...]) -> list[AlertChange]:
    rows: list[Any] = connection.execute(sql, values).fetchall()
    return [AlertChange(change, Alert(*row)) for row in rows]
