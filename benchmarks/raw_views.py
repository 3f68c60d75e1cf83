"""The raw twin's read side: fold a batch in memory, write it with one bulk upsert beside its checkpoint."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw

from benchmarks.raw import DECODE, RawCreated, RawItemAdded, open_database

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
_MOVE = "UPDATE checkpoint SET position = ?2 WHERE one = 1 AND position = ?1"


class RawViews:
    """Keeps `order_summary` up to date with a log of the raw twin."""

    def __init__(self, events: Path, views: Path) -> None:
        self.log = apsw.Connection(str(events), flags=apsw.SQLITE_OPEN_READONLY)
        self.db = open_database(views, synchronous="NORMAL")
        self.db.execute(_TABLES)
        self.position: int = self.db.execute("SELECT position FROM checkpoint").get

    def close(self) -> None:
        """Let go of both files."""
        self.log.close()
        self.db.close()

    def advance(self, limit: int = 10_000) -> int:
        """Apply the next batch; return how many events it had."""
        page: list[Any] = self.log.execute(_PAGE, (self.position, limit)).fetchall()
        if not page:
            return 0
        new, changed = _fold(page)
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(_CREATE, new)
        self.db.executemany(_CHANGE, changed)
        self.db.execute(_MOVE, (self.position, page[-1][0]))
        moved = self.db.changes()
        self.db.execute("COMMIT")
        assert moved == 1, "somebody else moved the checkpoint"
        self.position = page[-1][0]
        return len(page)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return id, customer, status, total in pence and item count of every order."""
        return self.db.execute("SELECT id, customer_id, status, total_amount, item_count FROM order_summary").fetchall()


def _fold(page: list[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    created: dict[bytes, tuple[str, int]] = {}
    changes: dict[bytes, list[Any]] = {}
    for _position, stream, name, payload, recorded_at in page:
        event = DECODE[name](payload)
        change = changes.get(stream)
        if change is None:
            change = changes[stream] = [Decimal(0), 0, None]
        if type(event) is RawItemAdded:
            change[0] += event.quantity * event.unit_price
            change[1] += 1
        elif type(event) is RawCreated:
            created[stream] = (event.customer_id, recorded_at)
        else:
            change[2] = "shipped"
    new: list[tuple[Any, ...]] = []
    changed: list[tuple[Any, ...]] = []
    for stream, (total, items, status) in changes.items():
        begun = created.get(stream)
        if begun is None:
            changed.append((stream, int(total * 100), items, status))
        else:
            new.append((stream, begun[0], status or "pending", int(total * 100), items, begun[1]))
    return new, changed
