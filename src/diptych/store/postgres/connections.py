"""A bounded pool of connections to one database, of one event loop.

Rule: a connection that is handed out comes back, whatever becomes of the one who asked, and never inside a transaction.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

import asyncpg

from diptych.errors import StoreUnavailableError
from diptych.store.postgres.connection import (
    ANSWER_SECONDS,
    DRIVER_ERRORS,
    Connection,
    Database,
    open_connection,
    translate,
)
from diptych.store.postgres.places import Places

WAIT_SECONDS: Final = 5.0
_MEND_SECONDS: Final = 5.0


class Connections:
    """Opens connections when they are first needed, and again when one was lost."""

    def __init__(
        self,
        database: Database,
        *,
        size: int,
        settings: Mapping[str, str] | None = None,
        writes: bool = True,
        answers_within: float = ANSWER_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        """`settings` are PostgreSQL's, for the session; see `open_connection`."""
        self.database = database
        self._size, self._settings, self._writes, self._patience = size, settings or {}, writes, wait_seconds
        self._answers_within = answers_within
        self._places = Places(size, wait_seconds)
        self._idle: list[Connection] = []
        self._handed_out: set[Connection] = set()
        self._mending: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def in_use(self) -> int:
        """How many connections are handed out now."""
        return len(self._handed_out)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; what asyncpg raises in the block comes out as our error.

        The block may be cancelled anywhere: a statement that runs is stopped, an open transaction rolled back.
        :raises StoreUnavailableError: none was free for `wait_seconds`, or the server is away or does not answer.
        """
        held = await self.acquire()
        is_sound = False
        try:
            yield held
            is_sound = True
        except DRIVER_ERRORS as error:
            is_sound = isinstance(error, asyncpg.PostgresError)
            if isinstance(error, TimeoutError):
                held.terminate()  # what it answers one day is no answer to the next question
            raise translate(error, self.database) from error
        finally:
            self.release(held, is_sound=is_sound)

    async def acquire(self) -> Connection:
        """Return a free connection; the caller gives it to `release`, in any case. Errors are ours."""
        self._check_open()
        try:
            await self._places.take()
        except TimeoutError as error:
            raise StoreUnavailableError(
                f"{self.database}: all {self._size} connections were in use for {self._patience:.0f} s. "
                "Try again; query handlers must not wait for other work while they read."
            ) from error
        try:
            self._check_open()
            while self._idle:
                held = self._idle.pop()
                if not held.is_closed():
                    break
            else:
                held = await open_connection(
                    self.database, self._settings, writes=self._writes, answers_within=self._answers_within
                )
        except BaseException:
            self._places.give_back()
            raise
        self._handed_out.add(held)
        return held

    def release(self, held: Connection, *, is_sound: bool = True) -> None:
        """Take a connection back. If it is not sound, or in a transaction, it is first brought in order, or closed."""
        self._handed_out.discard(held)
        if held.is_closed() or self._is_closed:
            held.terminate()
            self._places.give_back()
        elif is_sound and not held.is_in_transaction():
            self._idle.append(held)
            self._places.give_back()
        else:
            mending = asyncio.get_running_loop().create_task(self._mend(held), name="mend a connection")
            self._mending.add(mending)
            mending.add_done_callback(self._mending.discard)

    async def close(self) -> None:
        """Close what is idle now, and the rest when it comes back."""
        self._is_closed = True
        for mending in list(self._mending):
            await asyncio.wait([mending])
        idle, self._idle = self._idle, []
        for each in idle:
            await close_connection(each)

    async def _mend(self, held: Connection) -> None:
        """Wait until the server has stopped what was cancelled, and leave the transaction; else close it."""
        is_sound = False
        try:
            async with asyncio.timeout(_MEND_SECONDS):
                await held.execute("ROLLBACK")
            is_sound = not held.is_in_transaction()
        except DRIVER_ERRORS:
            is_sound = False
        finally:
            if is_sound and not self._is_closed:
                self._idle.append(held)
            else:
                held.terminate()
            self._places.give_back()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailableError(f"{self.database} is closed. Open the store before using it.")


@asynccontextmanager
async def transaction(held: Connection, begin: str = "BEGIN") -> AsyncIterator[None]:
    """A transaction on a connection that was lent. Who is cancelled leaves it to the pool, as what was lent always is.

    asyncpg's own keeps count of transactions that the pool has ended meanwhile.
    """
    await held.execute(begin)
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError) and not held.is_closed() and held.is_in_transaction():
            await held.execute("ROLLBACK")  # after a TimeoutError nobody answers
        raise
    await held.execute("COMMIT")


async def close_connection(connection: Connection) -> None:
    """Say good-bye to the server, for at most a second, and let go of the connection."""
    with suppress(*DRIVER_ERRORS):
        await connection.close(timeout=1)
    connection.terminate()
