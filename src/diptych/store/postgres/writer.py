"""The one task of a process that appends: appends that wait go together in one statement, which also commits.

Rule: an append that was sent is never cancelled, and no outcome is delivered before its commit was answered.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import compress
from operator import not_
from typing import Any, Final, NamedTuple

from diptych.errors import DiptychError, StoreReadOnlyError, StoreUnavailableError, UnknownOutcomeError
from diptych.store.grouping import copy_of, fit_together, settle
from diptych.store.postgres.appending import AppendJob
from diptych.store.postgres.connection import (
    CONNECT_SECONDS,
    DRIVER_ERRORS,
    Connection,
    Database,
    open_connection,
    translate,
)
from diptych.store.postgres.holder import holder_of
from diptych.store.postgres.migrations import in_schema
from diptych.store.postgres.session import AppendSession, Fold, FoldFailedError, Outcome, open_session
from diptych.store.protocols import Appended, StoreSettings

_GROUP: Final = 512  # appends in one transaction
_GROUP_EVENTS: Final = 5000
_GROUP_BYTES: Final = 16 * 1024 * 1024
_TRIES: Final = 5  # of what the server undid for the sake of another transaction
_UNDONE: Final = ("40001", "40P01")
_LOCKED: Final = "55P03"
_PRUNE: Final = """
DELETE FROM diptych.commands WHERE id IN (SELECT id FROM diptych.commands ORDER BY id LIMIT $1)
AND recorded_at < extract(epoch FROM clock_timestamp()) * 1000000 - $2::bigint
"""
_PRUNE_AFTER: Final = 250  # stored command ids; then up to twice as many are dropped, so that the table stops growing
_DAY: Final = 86_400_000_000  # microseconds


class _Waiting(NamedTuple):
    job: AppendJob
    future: "asyncio.Future[Any]"


class Writer:
    """Takes appends of one event loop and writes them in groups. After an error the next append simply tries again."""

    def __init__(
        self,
        database: Database,
        settings: StoreSettings,
        *,
        prepare: Callable[[Connection], Awaitable[None]],
        fold: Fold,
        committed: Callable[[int], None],
    ) -> None:
        """`prepare` is called on every connection before it is used, `fold` writes inline rows inside an append.

        `committed` hears how far the log reaches, before anybody learns an outcome.
        """
        self.database = database
        self._settings, self._prepare, self._fold, self._committed = settings, prepare, fold, committed
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._session: AppendSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._commands = 0

    async def open(self) -> None:
        """Connect, prepare the schema, and begin to take appends."""
        try:
            await self._connected()
        except DRIVER_ERRORS as error:
            raise translate(error, self.database) from error
        self._task = asyncio.get_running_loop().create_task(self._work(), name=f"writer {self.database.schema}")

    async def submit(self, job: AppendJob) -> Outcome:
        """Write it, with whatever else waits, and return its outcome once it is committed.

        The caller may be cancelled; the job is not.
        """
        if self._is_closed or self._task is None or self._task.done():
            raise StoreUnavailableError(f"{self.database} is closed. Nothing was stored; open the store again.")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(job, future))
        self._wake.set()
        return await future

    async def close(self) -> None:
        """Write what waits, then let go of the task and the connection."""
        self._is_closed = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        await self._drop()

    async def lock_holder(self) -> str | None:
        """Who holds the lock of the log now, as a sentence names it; None if nobody does."""
        connection = await open_connection(self.database, {}, answers_within=CONNECT_SECONDS)
        try:
            found = await holder_of(connection, self.database.schema)
        except DRIVER_ERRORS as error:
            raise translate(error, self.database) from error
        finally:
            connection.terminate()
        return found

    async def _work(self) -> None:
        try:
            while not self._is_closed or self._waiting:
                if not self._waiting:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                group = self._gather()
                outcomes = await self._write([each.job for each in group])
                settle(zip([each.future for each in group], outcomes, strict=True))
                await self._prune()
        finally:
            for waiting in self._waiting:
                waiting.future.cancel()
            if self._session is not None and not self._is_closed:
                self._session.terminate()

    def _gather(self) -> list[_Waiting]:
        candidates: list[_Waiting] = []
        events = size = 0
        while self._waiting and len(candidates) < _GROUP:
            job = self._waiting[0].job
            events, size = events + job.count, size + job.bytes
            if candidates and (events > _GROUP_EVENTS or size > _GROUP_BYTES):
                break
            candidates.append(self._waiting.popleft())
        if len(candidates) == 1:
            return candidates
        fitting = fit_together([each.job for each in candidates])
        self._waiting.extendleft(reversed(list(compress(candidates, map(not_, fitting)))))
        return list(compress(candidates, fitting))

    async def _write(self, jobs: Sequence[AppendJob]) -> Sequence[Outcome]:
        for attempt in range(_TRIES):
            try:
                session = await self._connected()
                outcomes = await session.append(jobs, self._fold)
            except DRIVER_ERRORS as error:
                if getattr(error, "sqlstate", None) in _UNDONE and attempt < _TRIES - 1:
                    await asyncio.sleep(random.uniform(0, 0.005 * 2**attempt))
                    continue
                failure: Exception = await self._give_up(error)
            except FoldFailedError as error:
                if len(jobs) == 1:
                    return [error.why]
                return [outcome for job in jobs for outcome in await self._write([job])]  # it is refused alone
            except Exception as error:
                failure = error
                await self._drop()
            else:
                self._keep_count(jobs, outcomes)
                return outcomes
            break
        return [copy_of(failure) for _ in jobs]

    async def _give_up(self, error: Exception) -> Exception:
        """Say what to tell everybody in the group."""
        is_unknown = self._session is not None and self._session.may_have_stored(error)
        failure: DiptychError = translate(error, self.database)
        if is_unknown:
            failure = UnknownOutcomeError(f"{self.database}: the commit was sent and not answered ({error}).")
        elif getattr(error, "sqlstate", None) == _LOCKED:
            failure = StoreUnavailableError(
                f"{self.database}: the log was locked for {self._settings.lock_timeout:g} s by "
                f"{await self._holder()}. Nothing was stored; try again, or end that process."
            )
        if is_unknown or isinstance(failure, StoreReadOnlyError) or isinstance(error, OSError):
            await self._drop()
        failure.__cause__ = error
        return failure

    async def _holder(self) -> str:
        try:
            return await self.lock_holder() or "somebody who has let go of it by now"
        except DiptychError:
            return "a process that cannot be asked for"

    async def _connected(self) -> AppendSession:
        if self._session is not None and self._session.is_over:
            await self._drop()
        if self._session is None:
            self._session = await open_session(self.database, self._settings, self._prepare)
        return self._session

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _keep_count(self, jobs: Sequence[AppendJob], outcomes: Sequence[Outcome]) -> None:
        head = 0
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Appended):
                self._commands += job.append.command is not None
                head = outcome.position
        if head:
            self._committed(head)

    async def _prune(self) -> None:
        """Forget the oldest command ids that are past their window."""
        if self._commands < _PRUNE_AFTER or self._session is None:
            return
        count, self._commands = 2 * self._commands, 0
        window = self._settings.command_window_days * _DAY
        try:
            await self._session.execute(in_schema(_PRUNE, self.database.schema), count, window)
        except DRIVER_ERRORS:
            await self._drop()  # the next append meets the cause, if it is still there
