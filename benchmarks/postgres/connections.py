"""Connections of the twin: a few, each lent to one statement at a time, nothing done between two of them."""

from asyncio import LifoQueue
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

import asyncpg

from diptych.store.postgres.connection import Connection, database_of

_PLANS: Final = {"jit": "off", "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}


class Where(NamedTuple):
    """A schema in a database; a connection sees no other."""

    dsn: str
    schema: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Read the URL of a place."""
        database, _ = database_of(url)
        return cls(database.dsn, database.schema)

    async def connect(self, settings: Mapping[str, str] | None = None) -> Connection:
        """Open a connection whose plans are kept and use indexes."""
        chosen = {**_PLANS, "search_path": self.schema, **(settings or {})}
        connection: Connection = await asyncpg.connect(self.dsn, server_settings=chosen)
        return connection


class Pool:
    """Lends connections, the last one used first."""

    def __init__(self, connections: list[Connection]) -> None:
        self._all = connections
        self._free: LifoQueue[Connection] = LifoQueue()
        for each in connections:
            self._free.put_nowait(each)

    @classmethod
    async def open(cls, where: Where, size: int) -> Self:
        """Open all of them."""
        return cls([await where.connect() for _ in range(size)])

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """Run a statement on a free one."""
        connection = await self._free.get()
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            self._free.put_nowait(connection)

    async def close(self) -> None:
        """Close all of them."""
        for each in self._all:
            await each.close()
