"""The records of alerts in a schema.

Rule: changed under a lock and by what is seen there, so that of several processes one makes each change.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from diptych.store.alerts import Alert, AlertChange, Change, Firing
from diptych.store.postgres.connection import Connection
from diptych.store.postgres.connections import transaction
from diptych.store.postgres.generations import Lending
from diptych.store.postgres.migrations import in_schema, lock_key
from diptych.store.postgres.shapes import NOW

_COLUMNS: Final = "id, projection, kind, message, value, raised_at, updated_at, resolved_at"
_LOCK: Final = "SELECT pg_advisory_xact_lock($1)"
_OPEN: Final = f"""
SELECT {_COLUMNS} FROM diptych.alerts WHERE resolved_at IS NULL AND projection = ANY($1::text[]) ORDER BY id
"""  # noqa: S608 - a constant
_RAISE: Final = f"""
INSERT INTO diptych.alerts (projection, kind, message, value, raised_at, updated_at)
SELECT $1, $2, $3, $4, now, now FROM (SELECT {NOW} AS now) RETURNING {_COLUMNS}
"""  # noqa: S608 - constants
_UPDATE: Final = f"""
UPDATE diptych.alerts SET message = $2, value = $3, updated_at = {NOW}
WHERE id = $1 AND updated_at <= {NOW} - $4::bigint RETURNING {_COLUMNS}
"""  # noqa: S608 - constants
_RESOLVE: Final = f"UPDATE diptych.alerts SET resolved_at = {NOW} WHERE id = $1 RETURNING {_COLUMNS}"  # noqa: S608
_RECENT: Final = f"""
SELECT {_COLUMNS} FROM diptych.alerts
WHERE ($1::text IS NULL OR projection = $1) AND (NOT $2 OR resolved_at IS NULL) ORDER BY id DESC LIMIT $3
"""  # noqa: S608 - a constant

_Step = tuple[Change, str, tuple[Any, ...]]


class PostgresAlerts:
    """The records of one view store."""

    def __init__(self, lend: Lending, schema: str) -> None:
        self._lend, self._schema = lend, schema

    async def reconcile(
        self, firing: Sequence[Firing], among: Collection[str], *, update_after: float
    ) -> Sequence[AlertChange]:
        """Bring the records of these projections in line with what fires now. Returns what was done."""
        patience, changes = int(update_after * 1_000_000), list[AlertChange]()
        async with self._lend() as connection:
            if not _steps(await self._open(connection, among), firing, patience):
                return changes
            async with transaction(connection):
                await connection.execute(_LOCK, lock_key(self._schema, "alerts"))
                for change, sql, values in _steps(await self._open(connection, among), firing, patience):
                    rows = await connection.fetch(self._sql(sql), *values)
                    changes += [AlertChange(change, Alert(*row)) for row in rows]
        return changes

    async def recent(
        self, projection: str | None = None, *, is_open: bool = False, limit: int = 100
    ) -> Sequence[Alert]:
        """Return the last records, newest first; only those that last with `is_open`."""
        async with self._lend() as connection:
            rows = await connection.fetch(self._sql(_RECENT), projection, is_open, limit)
        return [Alert(*row) for row in rows]

    async def _open(self, connection: Connection, among: Collection[str]) -> list[Alert]:
        return [Alert(*row) for row in await connection.fetch(self._sql(_OPEN), list(among))]

    def _sql(self, text: str) -> str:
        return in_schema(text, self._schema)


def _steps(known: Sequence[Alert], firing: Sequence[Firing], patience: int) -> list[_Step]:
    """Return what is to be done."""
    open_ = {(one.projection, one.kind): one for one in known}
    steps: list[_Step] = []
    for one in firing:
        record = open_.pop((one.projection, one.kind), None)
        if record is None:
            steps.append(("raised", _RAISE, (one.projection, one.kind, one.message, one.value)))
        elif record.message != one.message:
            steps.append(("updated", _UPDATE, (record.id, one.message, one.value, patience)))
    return steps + [("resolved", _RESOLVE, (gone.id,)) for gone in open_.values()]
