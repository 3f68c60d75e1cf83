"""What can be seen of the health of a server and of the schema of a service in it.

Rule: nothing is changed; how long a commit takes is tried with a message in the server's log that nobody reads.
"""

import time
from collections.abc import AsyncIterator
from contextlib import suppress
from statistics import median
from typing import Any, Final

import asyncpg

from diptych.errors import DiptychError, StoreReadOnlyError
from diptych.store.health import Check, judge, unknown
from diptych.store.postgres.connection import DRIVER_ERRORS, Connection, Database, open_connection, translate
from diptych.store.postgres.connections import close_connection
from diptych.store.postgres.holder import holder_of
from diptych.store.postgres.migrations import in_schema, migrations
from diptych.store.postgres.outside import has_table
from diptych.store.protocols import StoreSettings

CONNECTIONS_OF_A_PROCESS: Final = 40  # at most, see docs/postgresql.md
_OLDEST: Final = 160_000
_COMMITS: Final = 5
_SLOW: Final = 0.1  # seconds for one commit
_PATIENCE: Final = 5.0  # seconds: where a standby is to be waited for and is away, a commit waits for ever
_COMMIT: Final = "SELECT pg_logical_emit_message(true, 'diptych', '')::text"
_SKEW: Final = 1.0  # seconds
_IDLE: Final = 60  # seconds in a transaction without doing anything
_LAG: Final = 10.0  # seconds of a replica
_SET: Final = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "synchronous_commit": ("on", "local", "remote_write", "remote_apply"),
    "wal_level": ("replica", "logical"),
}
_WHY: Final = {
    "fsync": "a crash of the machine destroys the database",
    "full_page_writes": "a crash of the machine may tear pages",
    "synchronous_commit": "a crash of the server loses the last commits",
    "wal_level": "no replica and no continuous backup can follow",
}
_ROOM: Final = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
"""
_IDLERS: Final = """
SELECT string_agg(format('process %s (%s, %s s)', pid, application_name,
    round(extract(epoch FROM clock_timestamp() - state_change))), ', ')
FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'
AND clock_timestamp() - state_change > make_interval(secs => $1)
"""
_REPLICAS: Final = """
SELECT coalesce(nullif(application_name, ''), pid::text), state, sync_state,
    extract(epoch FROM replay_lag)::float, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint
FROM pg_stat_replication ORDER BY 1
"""
_NEEDED: Final = (
    ("events", "SELECT, INSERT"),
    ("streams", "SELECT, INSERT, UPDATE"),
    ("event_types", "SELECT, INSERT"),
    ("commands", "SELECT, INSERT, DELETE"),
)
_MAY: Final = """
SELECT bool_and(has_table_privilege($1::regclass, privilege)) FROM regexp_split_to_table($2, ', ') AS privilege
"""
_SEES: Final = "SELECT has_table_privilege($1::name, $2::text, 'SELECT')"
_VERSION: Final = "SELECT coalesce(max(number), 0) FROM diptych.migrations WHERE part = $1"


async def checks(database: Database, settings: StoreSettings) -> AsyncIterator[Check]:
    """Look at the server and the schema. A schema that is not there yet is no fault."""
    try:
        try:
            connection = await open_connection(database, {})
        except StoreReadOnlyError as error:
            yield judge("primary", False, str(error), "start the primary, or promote a standby")
            connection = await open_connection(database, {}, writes=False)
    except DiptychError as error:
        yield judge("server", False, str(error), "start it, or correct the URL")
        return
    health = _Health(connection, database, settings)
    groups = (health.server, health.room, health.schema, health.clock, health.sessions, health.replicas, health.commits)
    try:
        for group in groups:
            try:
                async for check in group():
                    yield check
            except asyncpg.InsufficientPrivilegeError as error:
                yield unknown(group.__name__, f"this user may not see it ({error})")
            except DRIVER_ERRORS as error:
                yield unknown(group.__name__, translate(error, database))
    finally:
        with suppress(*DRIVER_ERRORS):
            await close_connection(connection)


class _Health:
    """The checks, on one connection."""

    def __init__(self, connection: Connection, database: Database, settings: StoreSettings) -> None:
        self._connection, self._database, self._settings = connection, database, settings

    async def server(self) -> AsyncIterator[Check]:
        number = int(await self._value("SHOW server_version_num"))
        shown = f"PostgreSQL {await self._value('SHOW server_version')}, {self._database}"
        yield judge("server", number >= _OLDEST, shown, "upgrade the server to PostgreSQL 16 or newer")
        for name, good in _SET.items():
            value = await self._value("SELECT current_setting($1)", name)
            is_well = value in good
            if name == "synchronous_commit" and self._settings.synchronous == "normal":
                yield judge(name, True, f"{value}; off for appends, as the URL has chosen: {_WHY[name]}", "")
                continue
            fix = f"ALTER SYSTEM SET {name} = '{good[0]}'; then reload, and for wal_level restart, the server"
            yield judge(name, is_well, value if is_well else f"{value}: {_WHY[name]}", fix)

    async def room(self) -> AsyncIterator[Check]:
        limit, used = await self._row(_ROOM)
        detail = f"{limit} for services, {used} in use; a process opens up to {CONNECTIONS_OF_A_PROCESS}"
        yield judge(
            "max_connections", limit >= CONNECTIONS_OF_A_PROCESS, detail, "ALTER SYSTEM SET max_connections = 200"
        )

    async def schema(self) -> AsyncIterator[Check]:
        if not await has_table(self._connection, self._database, "events"):
            yield unknown("schema", f"{self._database} is not there yet: the service, or diptych db upgrade, makes it")
            return
        for part in ("events", "views"):
            found, newest = await self._value(_VERSION, part), migrations(part, self._database.schema)[-1][0]
            detail = f"schema {found} of {newest}"
            is_newer = found > newest
            fix = "upgrade diptych here" if is_newer else "diptych db upgrade"
            yield judge(f"{part} schema", found == newest, detail, fix)
        schema, user = self._database.schema, await self._value("SELECT current_user")
        lacking = [
            f"{what} on {table}" for table, what in _NEEDED if not await self._value(_MAY, f"{schema}.{table}", what)
        ]
        detail = f"{user} lacks {'; '.join(lacking)}" if lacking else f"{user} may append"
        yield judge("rights", not lacking, detail, f"diptych db grants --schema {schema}, run as an administrator")
        yield await self._reader()

    async def _reader(self) -> Check:
        role, schema = self._settings.reader, self._database.schema
        if not role:
            return judge("reader", True, "none is named: queries read in a read-only transaction of the same user", "")
        fix = f"diptych db grants --schema {schema} --reader {role}, run as an administrator"
        if not await self._value("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role):
            return judge("reader", False, f"there is no role {role}", fix)
        if not await self._value("SELECT pg_has_role($1::name, 'MEMBER')", role):
            return judge("reader", False, f"this user is no member of {role}", f"GRANT {role} TO CURRENT_USER")
        if await self._value(_SEES, role, f"{schema}.events"):
            return judge(
                "reader",
                False,
                f"{role} may read the events",
                f"REVOKE SELECT ON {schema}.events FROM {role}",  # noqa: S608 - shown
            )
        return judge("reader", True, f"{role} cannot see the events", "")

    async def clock(self) -> AsyncIterator[Check]:
        before = time.time()
        there = float(await self._value("SELECT extract(epoch FROM clock_timestamp())::float"))
        after = time.time()
        skew = there - min(max(there, before), after)  # nothing, if it is between what was read here
        detail = f"the server is {abs(skew):.3f} s {'ahead' if skew > 0 else 'behind'}" if skew else "as here"
        yield judge(
            "clock", abs(skew) <= _SKEW, detail, "synchronise both machines (chrony, ntpd): lag is told by them"
        )

    async def commits(self) -> AsyncIterator[Check]:
        if await self._value("SELECT pg_is_in_recovery()"):
            yield unknown("commit time", "this is a standby")
            return
        fix, times = "look at the server's disk and at its synchronous standbys", list[float]()
        for _ in range(_COMMITS):
            begun = time.perf_counter()
            try:
                await self._connection.fetchval(_COMMIT, timeout=_PATIENCE)
            except TimeoutError:
                yield judge("commit time", False, f"a commit was not confirmed in {_PATIENCE:.0f} s", fix)
                return
            times.append(time.perf_counter() - begun)
        taken = median(times)
        shown = f"{taken * 1000:.2f} ms with the way there, the median of {_COMMITS}"
        yield judge("commit time", taken <= _SLOW, shown, fix)

    async def sessions(self) -> AsyncIterator[Check]:
        idle = await self._value(_IDLERS, _IDLE)
        detail = idle or f"none for over {_IDLE} s"
        yield judge(
            "idle in transaction", not idle, detail, "SELECT pg_terminate_backend(PROCESS), and mend what it does"
        )
        holder = await holder_of(self._connection, self._database.schema, seconds=1.0)
        yield judge("lock of the log", holder is None, holder or "free", "SELECT pg_terminate_backend(PROCESS)")

    async def replicas(self) -> AsyncIterator[Check]:
        if await self._value("SELECT pg_is_in_recovery()"):
            yield unknown("replicas", "this is a standby: ask the primary")
            return
        found = await self._connection.fetch(_REPLICAS)
        wanted = await self._value("SHOW synchronous_standby_names")
        if wanted and not any(row[2] in ("sync", "quorum") for row in found):
            yield judge("replicas", False, f"{wanted} is to be waited for and none is there", "start the standby")
        elif not found:
            yield judge("replicas", True, "none", "")
        for name, state, sync, lag, behind in found:
            if state is None:
                yield unknown(f"replica {name}", "this user may not see it: GRANT pg_monitor TO it")
                continue
            detail = f"{state}, {sync}, {lag or 0.0:.1f} s and {behind or 0:,} bytes behind"
            is_well = state == "streaming" and (lag or 0.0) <= _LAG
            yield judge(f"replica {name}", is_well, detail, "look at the log of the replica, and at the network")

    async def _value(self, sql: str, *values: Any) -> Any:
        return await self._connection.fetchval(in_schema(sql, self._database.schema), *values)

    async def _row(self, sql: str) -> Any:
        return await self._connection.fetchrow(sql)
