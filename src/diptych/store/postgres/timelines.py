"""Knows an old primary that came back beside the one that was promoted after it.

Rule: a server that does not say which timeline it writes is believed.
"""

from typing import Final

import asyncpg

from diptych.errors import StoreUnavailableError
from diptych.store.postgres.connection import Connection, Database

_TIMELINE: Final = """
SELECT (SELECT system_identifier FROM pg_control_system()),
    ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint
"""  # every role may ask; the control file alone says it only some time after a promotion


class Timelines:
    """The newest that this process has appended to; each promotion begins one."""

    def __init__(self, database: Database) -> None:
        self._database, self._cluster, self._newest = database, 0, 0

    async def check(self, connection: Connection) -> None:
        """:raises StoreUnavailableError: this server was primary before the one that was appended to."""
        try:
            found = await connection.fetchrow(_TIMELINE)
        except asyncpg.PostgresError:
            return
        assert found is not None
        cluster, timeline = found
        if cluster == self._cluster and timeline < self._newest:
            raise StoreUnavailableError(
                f"{self._database}: the server that takes writes is an old primary (timeline {timeline}, and "
                f"{self._newest} was appended to). Nothing was stored; stop that server, or make it a standby."
            )
        self._cluster, self._newest = cluster, timeline
