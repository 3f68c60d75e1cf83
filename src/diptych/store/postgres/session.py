"""A session with the server that appends: the statement, the transaction around it, and what an error of it means.

Rule: an error says whether anything can have been stored. Only where the server itself refused, nothing was.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import asyncpg

from diptych.errors import ProgrammingError, UnknownOutcomeError
from diptych.store.postgres.appending import AppendJob, CommandTaken, Group, Written
from diptych.store.postgres.connection import Connection, Database, open_connection
from diptych.store.postgres.connections import close_connection
from diptych.store.postgres.fence import LET_IN
from diptych.store.postgres.migrations import in_schema, lock_key
from diptych.store.protocols import Appended, StoreSettings

Outcome = Appended | CommandTaken | Exception
Stored = Sequence[tuple[AppendJob, Appended]]
Fold = Callable[[Connection, Stored], Awaitable[Sequence[Collection[str]]]]
"""Writes the rows of some appends; returns for each of them the names of the projections that were folded."""
"""Write the rows that commit with appends, in their order, in the transaction of this connection."""

_APPEND: Final = """
SELECT * FROM diptych.append_events($1, $2::text::integer[], string_to_array($3, chr(30)), $4::text::bigint[],
    string_to_array($5, chr(31)), string_to_array($6, chr(31)), $7::text::bigint[], $8::text::uuid[],
    $9::text::bigint[], $10::text::uuid[], string_to_array($11, chr(30)), $12::text::bigint[], $13::text::integer[],
    string_to_array($14, chr(31)))
"""
_LEFT_TO_FINISH: Final = 1e6  # seconds: a timeout of asyncpg's would have the server cancel what was sent
_TYPES: Final = "SELECT name, id FROM diptych.event_types"
_NEW_TYPES: Final = "INSERT INTO diptych.event_types (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING"
_NEEDS_CRC: Final = """
SELECT l.lanname <> 'sql' FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace = to_regnamespace($1) AND p.proname = 'checksum_of'
"""
_NEVER_OFF: Final = """
SELECT set_config('synchronous_commit', 'on', {is_local}) WHERE current_setting('synchronous_commit') = 'off'
"""


async def open_session(
    database: Database, settings: StoreSettings, prepare: Callable[[Connection], Awaitable[None]]
) -> "AppendSession":
    """Connect and make ready; `prepare` migrates and checks. Its plans never scan a table: they outlive small ones.

    A process that stands still while it holds the lock loses it before those who wait for it give up.
    """
    patience = max(int(settings.lock_timeout * 1000), 2)
    chosen = {
        "lock_timeout": str(patience),
        "idle_in_transaction_session_timeout": str(patience // 2),
        "default_transaction_isolation": "read committed",
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        **LET_IN,  # inline rows are folded here
    }
    begin = "BEGIN"
    if settings.synchronous == "normal":
        chosen["synchronous_commit"] = "off"
    elif database.is_pooled:
        begin = f"BEGIN; {_NEVER_OFF.format(is_local=True)}"
    deadline = settings.lock_timeout + settings.answer_timeout
    connection = await open_connection(database, chosen, answers_within=deadline)
    try:
        if settings.synchronous != "normal" and not database.is_pooled:
            await connection.execute(_NEVER_OFF.format(is_local=False))
        await prepare(connection)
        session = AppendSession(connection, database, begin, deadline)
        await session.make_ready()
    except BaseException:
        connection.terminate()
        raise
    return session


class AppendSession:
    """One connection. Once `is_over`, another one is opened for the next append."""

    def __init__(self, connection: Connection, database: Database, begin: str, deadline: float) -> None:
        """`deadline`: how many seconds an answer is waited for."""
        self._connection, self._database, self._begin, self._deadline = connection, database, begin, deadline
        self._lock, self._needs_crc = lock_key(database.schema, "append"), False
        self._fetch: Callable[..., Awaitable[Any]]
        self._types: dict[str, int] = {}
        self._warnings: list[str] = []
        self._is_sent = False
        connection.add_log_listener(self._heard)

    async def make_ready(self) -> None:
        """Prepare the statement, where the next one meets the same session of the server."""
        sql = in_schema(_APPEND, self._database.schema)
        if self._database.is_pooled:
            self._fetch = partial(self._connection.fetchrow, sql)
        else:
            self._fetch = (await self._connection.prepare(sql)).fetchrow
        self._needs_crc = bool(await self._connection.fetchval(_NEEDS_CRC, self._database.schema))
        await self._read_types()

    @property
    def is_over(self) -> bool:
        """Whether it can do no more."""
        return self._connection.is_closed()

    def may_have_stored(self, error: BaseException) -> bool:
        """Whether the append that ended with this error may be in the log all the same."""
        if not self._is_sent or isinstance(error, asyncpg.InterfaceError):
            return False
        return getattr(error, "severity_en", getattr(error, "severity", None)) != "ERROR"

    async def append(self, jobs: Sequence[AppendJob], fold: Fold) -> list[Outcome]:
        """Judge and write a group, and commit it; without inline rows and PgBouncer that is one statement.

        :raises FoldFailedError: a fold refused its append, and nothing of the group is stored.
        """
        self._is_sent = False
        self._warnings.clear()
        await self._learn_types(jobs)
        if not self._database.is_pooled and not any(job.has_rows for job in jobs):
            self._is_sent = True
            outcomes = await self._write(jobs)
            return self._doubted(outcomes)
        return self._doubted(await self._append_in_steps(jobs, fold))

    async def _append_in_steps(self, jobs: Sequence[AppendJob], fold: Fold) -> list[Outcome]:
        await self._connection.execute(self._begin)
        try:
            outcomes = await self._write(jobs)
            pairs = enumerate(zip(jobs, outcomes, strict=True))
            stored = {at: (job, one) for at, (job, one) in pairs if isinstance(one, Appended) and job.has_rows}
            folded = await self._fold(fold, [*stored.values()])
            for (at, (_, one)), names in zip(stored.items(), folded, strict=True):
                outcomes[at] = one._replace(folded=names)
            self._is_sent = True
            with self._until_silent():
                done = await self._connection.execute("COMMIT", timeout=_LEFT_TO_FINISH)
            if done != "COMMIT":
                raise ProgrammingError("A projection's fold went on after an error of the database. Nothing is stored.")
        except BaseException as error:
            if isinstance(error, TimeoutError):
                self._connection.terminate()
            if not self._connection.is_closed() and self._connection.is_in_transaction():
                await self._connection.execute("ROLLBACK")
            raise
        return outcomes

    async def _fold(self, fold: Fold, stored: Stored) -> Sequence[Collection[str]]:
        try:
            return await fold(self._connection, stored)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            raise
        except Exception as error:
            raise FoldFailedError(error) from error

    async def _write(self, jobs: Sequence[AppendJob]) -> list[Outcome]:
        group = Group(jobs, self._types, with_checksums=self._needs_crc)
        arguments = group.arguments(self._lock)
        with self._until_silent():
            written = Written(*await self._fetch(*arguments, timeout=_LEFT_TO_FINISH))
        return group.outcomes(written)

    @contextmanager
    def _until_silent(self) -> Iterator[None]:
        """Cut the connection when no answer came in time, which stops nothing: the server finishes what it has read.

        :raises TimeoutError: it was cut.
        """
        watch = asyncio.get_running_loop().call_later(self._deadline, self._connection.terminate)
        try:
            yield
        except Exception as error:
            if watch.when() <= asyncio.get_running_loop().time():
                raise TimeoutError(f"no answer for {self._deadline:g} s") from error
            raise
        finally:
            watch.cancel()

    async def _learn_types(self, jobs: Sequence[AppendJob]) -> None:
        wanted = {name for job in jobs for name in job.types}
        if wanted <= self._types.keys():
            return
        await self._read_types()
        missing = sorted(wanted - self._types.keys())
        if missing:
            await self._connection.execute(in_schema(_NEW_TYPES, self._database.schema), missing)
            await self._read_types()

    async def _read_types(self) -> None:
        found = await self._connection.fetch(in_schema(_TYPES, self._database.schema))
        self._types.update({row[0]: row[1] for row in found})

    def _doubted(self, outcomes: list[Outcome]) -> list[Outcome]:
        """What was stored is not sure to last when the server warned: it gave up waiting for its standby."""
        if not self._warnings:
            return outcomes
        why = f"{self._database} warned while it committed: {self._warnings[0]}"
        return [UnknownOutcomeError(why) if isinstance(each, Appended) else each for each in outcomes]

    def _heard(self, connection: object, message: asyncpg.PostgresLogMessage) -> None:
        if getattr(message, "severity_en", None) == "WARNING":
            self._warnings.append(str(message))

    async def execute(self, sql: str, *arguments: Any) -> None:
        """Run a statement beside appends."""
        self._is_sent = False
        await self._connection.execute(sql, *arguments)

    async def close(self) -> None:
        """Let go of the connection."""
        await close_connection(self._connection)

    def terminate(self) -> None:
        """Cut the connection."""
        self._connection.terminate()


class FoldFailedError(Exception):
    """A fold refused its append; `why` is what it raised."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why
