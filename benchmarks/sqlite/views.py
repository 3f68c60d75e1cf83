"""The raw twin's read side on SQLite: fold a batch in memory, write it with bulk statements beside its checkpoint."""

from pathlib import Path
from typing import Any
from uuid import UUID

import apsw

from benchmarks.raw import fold
from benchmarks.sqlite.store import open_database

_TABLES = """
CREATE TABLE IF NOT EXISTS checkpoint(one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS order_summary(
    id BLOB PRIMARY KEY, customer_id TEXT NOT NULL, status TEXT NOT NULL, total_amount INTEGER NOT NULL,
    item_count INTEGER NOT NULL, created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS order_summary_customer ON order_summary(customer_id);
INSERT OR IGNORE INTO checkpoint VALUES (1, 0)
"""
_PAGE = "SELECT position, stream, type, payload, recorded_at FROM events WHERE position > ? ORDER BY position LIMIT ?"
_CREATE = "INSERT INTO order_summary(id, customer_id, status, total_amount, item_count, created_at) VALUES(?,?,?,?,?,?)"
_CHANGE = """
UPDATE order_summary SET total_amount = total_amount + ?2, item_count = item_count + ?3, status = coalesce(?4, status)
WHERE id = ?1
"""
_ROW = "SELECT customer_id, status, total_amount, item_count, created_at FROM order_summary WHERE id = ?"
_MOVE = "UPDATE checkpoint SET position = ?2 WHERE one = 1 AND position = ?1"


class SqliteRawViews:
    """Keeps `order_summary` up to date with a log of the raw twin."""

    def __init__(self, events: Path, views: Path) -> None:
        self.log = apsw.Connection(str(events), flags=apsw.SQLITE_OPEN_READONLY)
        self.db = open_database(views, synchronous="NORMAL")
        self.db.execute(_TABLES)
        self.position: int = self.db.execute("SELECT position FROM checkpoint").get

    async def close(self) -> None:
        """Let go of both files."""
        self.log.close()
        self.db.close()

    async def advance(self, limit: int = 10_000) -> int:
        """Apply the next batch; return how many events it had."""
        page: list[Any] = self.log.execute(_PAGE, (self.position, limit)).fetchall()
        if not page:
            return 0
        new, changed = fold(page)
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(_CREATE, new)
        self.db.executemany(_CHANGE, changed)
        self.db.execute(_MOVE, (self.position, page[-1][0]))
        moved = self.db.changes()
        self.db.execute("COMMIT")
        assert moved == 1, "somebody else moved the checkpoint"
        self.position = page[-1][0]
        return len(page)

    async def row(self, order_id: UUID) -> tuple[Any, ...] | None:
        """Return customer, status, total in pence, item count and time of creation of an order."""
        found: list[Any] = self.db.execute(_ROW, (order_id.bytes,)).fetchall()
        return found[0] if found else None

    async def rows(self) -> list[tuple[Any, ...]]:
        """Return id, customer, status, total in pence and item count of every order."""
        found = self.db.execute("SELECT id, customer_id, status, total_amount, item_count FROM order_summary")
        return [(id.hex(), *rest) for id, *rest in found]
