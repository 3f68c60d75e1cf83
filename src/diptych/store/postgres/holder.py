"""Who holds the lock of a log: what an operator wants to know when nobody can append."""

from typing import Final

from diptych.store.postgres.connection import Connection
from diptych.store.postgres.migrations import lock_key

_HOLDER: Final = """
SELECT format('process %s (%s, from %s, %s for %s s)', a.pid, a.application_name,
    coalesce(host(a.client_addr), 'a local socket'), a.state,
    round(extract(epoch FROM clock_timestamp() - a.xact_start)))
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND (l.classid::bigint << 32) + l.objid::bigint = $1
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND clock_timestamp() - a.xact_start >= make_interval(secs => $2)
"""


async def holder_of(connection: Connection, schema: str, *, seconds: float = 0.0) -> str | None:
    """Return who has held the lock for so long, as a sentence names it; None if nobody has."""
    found: str | None = await connection.fetchval(_HOLDER, lock_key(schema, "append"), seconds)
    return found
