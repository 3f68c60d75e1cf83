"""The records of alerts in a schema.

Rule: looked at and changed in one transaction under a lock, so that of several processes one makes each change.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from diptych.store.alerts import Alert, AlertChange, Change, Firing
from diptych.store.postgres.connection import Connection
from diptych.store.postgres.migrations import in_schema, lock_key

_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_COLUMNS: Final = "id, projection, kind, message, value, raised_at, updated_at, resolved_at"
_OPEN: Final = f"""
SELECT {_COLUMNS} FROM diptych.alerts WHERE resolved_at IS NULL AND projection = ANY($1) ORDER BY id
"""  # noqa: S608 - a constant
_RAISE: Final = f"""
INSERT INTO diptych.alerts (projection, kind, message, value, raised_at, updated_at)
SELECT $1, $2, $3, $4, now, now FROM (SELECT {_NOW} AS now) clock RETURNING {_COLUMNS}
"""  # noqa: S608 - constants
_UPDATE: Final = f"""
UPDATE diptych.alerts SET message = $1, value = $2, updated_at = {_NOW}
WHERE id = $3 AND updated_at <= {_NOW} - $4::bigint RETURNING {_COLUMNS}
"""  # noqa: S608 - constants
_RESOLVE: Final = f"UPDATE diptych.alerts SET resolved_at = {_NOW} WHERE id = $1 RETURNING {_COLUMNS}"  # noqa: S608 - constants
_RECENT: Final = f"""
SELECT {_COLUMNS} FROM diptych.alerts
WHERE ($1::text IS NULL OR projection = $1) AND (NOT $2 OR resolved_at IS NULL) ORDER BY id DESC LIMIT $3
"""  # noqa: S608 - a constant


class PostgresAlerts:
    """The records of one view store. `lend` gives a connection that may write."""

    def __init__(self, lend: Callable[[], AbstractAsyncContextManager[Connection]], schema: str) -> None:
        self._lend, self._schema, self._lock = lend, schema, lock_key(schema, "alerts")

    async def reconcile(
        self, firing: Sequence[Firing], among: Collection[str], *, update_after: float
    ) -> Sequence[AlertChange]:
        """Bring the records of these projections in line with what fires now. Returns what was done."""
        patience = int(update_after * 1_000_000)
        async with self._lend() as connection:
            await connection.execute("BEGIN")
            await connection.execute("SELECT pg_advisory_xact_lock($1)", self._lock)
            lasting = await connection.fetch(in_schema(_OPEN, self._schema), list(among))
            open_ = {(one.projection, one.kind): one for one in (Alert(*row) for row in lasting)}
            changes: list[AlertChange] = []
            for one in firing:
                known = open_.pop((one.projection, one.kind), None)
                if known is None:
                    changes += await self._changed(connection, "raised", _RAISE, *one)
                elif known.message != one.message:
                    values = (one.message, one.value, known.id, patience)
                    changes += await self._changed(connection, "updated", _UPDATE, *values)
            for gone in open_.values():
                changes += await self._changed(connection, "resolved", _RESOLVE, gone.id)
            await connection.execute("COMMIT")
            return changes

    async def recent(
        self, projection: str | None = None, *, is_open: bool = False, limit: int = 100
    ) -> Sequence[Alert]:
        """Return the last records, newest first; only those that last with `is_open`."""
        async with self._lend() as connection:
            rows = await connection.fetch(in_schema(_RECENT, self._schema), projection, is_open, limit)
            return [Alert(*row) for row in rows]

    async def _changed(self, connection: Connection, change: Change, sql: str, *values: Any) -> list[AlertChange]:
        rows = await connection.fetch(in_schema(sql, self._schema), *values)
        return [AlertChange(change, Alert(*row)) for row in rows]
