"""A connection through PgBouncer with transaction pooling: a session of the server is lent for one transaction only.

Rule: nothing is sent outside a transaction, and each one begins with the settings that a session of our own would have.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import asyncpg

from diptych.store.postgres.direct import DirectConnection

LENT_SECONDS: Final = 5.0  # that a transaction waits for a session of the server
_UNLESS_SAID: Final = {"lock_timeout": "0", "idle_in_transaction_session_timeout": "60s"}


class PooledConnection(DirectConnection):
    """Wraps a statement that stands alone in a transaction, and puts the settings after every BEGIN.

    They are local to the transaction, so that the next one to get the session finds nothing of ours in it; nor do we
    rely on anything that is in it.
    """

    _settings = ""

    def begin_with(self, settings: Mapping[str, str]) -> None:
        """Set these in every transaction from now on."""
        chosen = {**_UNLESS_SAID, **settings}
        self._settings = "".join([f" SET LOCAL {name} = '{value}';" for name, value in chosen.items()])

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        """Run statements; those without arguments go in one piece."""
        first, _, rest = query.partition(";")
        if first.startswith("BEGIN"):
            return await self._begin(first, rest)
        if args or self.is_in_transaction() or first in ("COMMIT", "ROLLBACK"):
            return await super().execute(query, *args, timeout=timeout)
        async with self._within_transaction():
            return await super().execute(query, timeout=timeout)

    async def _execute(self, *what: Any, **how: Any) -> Any:
        """Run what was prepared for it, on the session that it was prepared on: fetch and its kin come here."""
        async with self._within_transaction():
            return await super()._execute(*what, **how)  # type: ignore[misc] # not in the stubs

    async def _begin(self, first: str, rest: str) -> str:
        if "ISOLATION LEVEL" not in first:  # what a session has by default is anybody's choice
            first += " ISOLATION LEVEL READ COMMITTED"
        try:
            return await super().execute(f"{first};{self._settings}{rest}", timeout=LENT_SECONDS)
        except TimeoutError as error:
            why = f"PgBouncer lent no session for {LENT_SECONDS:g} s: see its default_pool_size"
            raise TimeoutError(why) from error

    @asynccontextmanager
    async def _within_transaction(self) -> AsyncIterator[None]:
        if self.is_in_transaction():
            yield
            return
        await self._begin("BEGIN", "")
        try:
            yield
        except (asyncpg.PostgresError, asyncpg.InterfaceError):
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await super().execute("ROLLBACK")
            raise
        await super().execute("COMMIT")


async def connect_pooled(dsn: str, settings: Mapping[str, str], **how: Any) -> PooledConnection:
    """Connect; what asyncpg raises comes out."""
    connection = await asyncpg.connect(dsn, connection_class=PooledConnection, statement_cache_size=0, **how)
    connection.begin_with(settings)
    return connection
