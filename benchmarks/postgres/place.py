"""Places on a server: a schema for each side. Both sides are in the same database."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from benchmarks.generator import Fact
from benchmarks.place import StoreName
from benchmarks.postgres.connections import Where
from benchmarks.postgres.store import PostgresRawStore, fill
from benchmarks.postgres.views import PostgresRawViews
from benchmarks.raw import RawStore, RawViews
from diptych.testing.postgres import PostgresServer

SETTINGS: Final = ("shared_buffers=256MB", "max_wal_size=4GB")
_SHOWN: Final = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
_ROWS: Final = """
SELECT id::text, customer_id::text, status, (total_amount * 100)::bigint, item_count FROM order_summary
"""
_GENERATIONS: Final = r"""
SELECT oid::regclass::text FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname ~ '^order_summary__g\d+$'
"""
_numbers = itertools.count(1)


class PostgresPlace:
    """A schema of one side."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._where = Where.of(url)

    async def raw_store(self) -> RawStore:
        """Open the twin's log."""
        return await PostgresRawStore.open(self._where)

    async def raw_views(self) -> RawViews:
        """Open the twin's read side."""
        return await PostgresRawViews.open(self._where)

    async def raw_fill(self, facts: Iterable[Fact], size: int = 100) -> None:
        """Write the twin's log before anything is measured."""
        await fill(self._where, facts, size)

    async def rows(self) -> Sequence[tuple[Any, ...]]:
        """Return what Diptych's projection wrote."""
        connection = await self._where.connect()
        found = await connection.fetch(_ROWS)
        await connection.close()
        return [tuple(row) for row in found]

    async def forget_rows(self) -> None:
        """Drop the rows; Diptych begins at 0 when they lack, the twin when its checkpoint does."""
        connection = await self._where.connect()
        for (name,) in await connection.fetch(_GENERATIONS):
            await connection.execute(f"DROP TABLE {name} CASCADE")  # with the view that shows it
        await connection.execute("DROP TABLE IF EXISTS order_summary, checkpoint")
        await connection.close()


class PostgresDatabase:
    """Makes places on a server."""

    name: StoreName = "postgresql"

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    @asynccontextmanager
    async def places(self, workload: str) -> AsyncIterator[Callable[[str], PostgresPlace]]:
        """A schema for each side."""
        made: list[str] = []

        def place(side: str) -> PostgresPlace:
            made.append(f"bench_{workload.lower()}_{side}_{next(_numbers)}")
            return PostgresPlace(self._server.url(schema=made[-1]))

        try:
            yield place
        finally:
            for schema in made:
                self._server.query(f"DROP SCHEMA IF EXISTS {schema} CASCADE")

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """What server it is, and what it waits for."""
        settings = ", ".join(f"{name}={self._server.query(f'SHOW {name}')}" for name in _SHOWN)
        return {
            "versions": {"postgresql": self._server.query("SHOW server_version")},
            "durability": {"events": settings, "views": "synchronous_commit=off"},
        }
