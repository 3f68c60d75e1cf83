"""The raw twin's read side on PostgreSQL: fold a batch in memory, write rows and checkpoint in one statement."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from benchmarks.postgres.connections import Pool, Where
from benchmarks.raw import fold
from diptych.store.postgres.connection import Connection

_READERS = 8
_TABLES = """
CREATE TABLE IF NOT EXISTS checkpoint(
    one integer PRIMARY KEY CHECK (one = 1), position bigint NOT NULL) WITH (fillfactor = 20);
CREATE TABLE IF NOT EXISTS order_summary(
    id uuid PRIMARY KEY, customer_id text NOT NULL, status text NOT NULL, total_amount bigint NOT NULL,
    item_count bigint NOT NULL, created_at bigint NOT NULL);
CREATE INDEX IF NOT EXISTS order_summary_customer ON order_summary(customer_id);
INSERT INTO checkpoint VALUES (1, 0) ON CONFLICT DO NOTHING
"""
_PAGE = "SELECT position, stream, type, payload, recorded_at FROM events WHERE position > $1 ORDER BY position LIMIT $2"
_WRITE = """
WITH moved AS (UPDATE checkpoint SET position = $2 WHERE one = 1 AND position = $1 RETURNING one),
    changed AS (
        UPDATE order_summary o SET total_amount = o.total_amount + c.total, item_count = o.item_count + c.items,
            status = coalesce(c.status, o.status)
        FROM unnest($9::uuid[], $10::bigint[], $11::bigint[], $12::text[]) AS c (id, total, items, status), moved
        WHERE o.id = c.id),
    created AS (
        INSERT INTO order_summary (id, customer_id, status, total_amount, item_count, created_at)
        SELECT c.* FROM moved,
            unnest($3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[]) AS c)
SELECT count(*) FROM moved
"""
_ROW = "SELECT customer_id, status, total_amount, item_count, created_at FROM order_summary WHERE id = $1"
_ROWS = "SELECT id::text, customer_id, status, total_amount, item_count FROM order_summary"


class PostgresRawViews:
    """Keeps `order_summary` up to date with a log of the raw twin."""

    def __init__(self, connection: Connection, readers: Pool, position: int) -> None:
        self.position = position
        self._connection, self._readers = connection, readers

    @classmethod
    async def open(cls, where: Where) -> "PostgresRawViews":
        """Make the tables, if they lack; what is lost of them in a crash is made again from the log."""
        connection = await where.connect({"synchronous_commit": "off"})
        await connection.execute(_TABLES)
        position: int = await connection.fetchval("SELECT position FROM checkpoint")
        return cls(connection, await Pool.open(where, _READERS), position)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._connection.close()
        await self._readers.close()

    async def advance(self, limit: int = 10_000) -> int:
        """Apply the next batch; return how many events it had."""
        page: list[Any] = await self._connection.fetch(_PAGE, self.position, limit)
        if not page:
            return 0
        last: int = page[-1][0]
        new, changed = fold(page)
        columns = [*_columns(new, 6), *_columns(changed, 4)]
        moved: int = await self._connection.fetchval(_WRITE, self.position, last, *columns)
        assert moved == 1, "somebody else moved the checkpoint"
        self.position = last
        return len(page)

    async def row(self, order_id: UUID) -> Sequence[Any] | None:
        """Return customer, status, total in pence, item count and time of creation of an order."""
        found = await self._readers.fetch(_ROW, order_id)
        return found[0] if found else None

    async def rows(self) -> Sequence[tuple[Any, ...]]:
        """Return id, customer, status, total in pence and item count of every order."""
        return [tuple(row) for row in await self._readers.fetch(_ROWS)]


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) or [()] * width
