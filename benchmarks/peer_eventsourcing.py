"""The order of the workloads, written with `eventsourcing`."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

T = TypeVar("T")

ITEM = (str(uuid4()), "WHITE HANGING HEART T-LIGHT HOLDER", 6, Decimal("2.55"))


class Order(Aggregate):
    """An order."""

    def __init__(self) -> None:
        self.total = Decimal(0)
        self.item_count = 0

    @event("ItemAdded")
    def add_item(self, product_id: str, description: str, quantity: int, unit_price: Decimal) -> None:
        """Add an item."""
        self.total += quantity * unit_price
        self.item_count += 1


def shop(file: Path) -> Application[UUID]:
    """Return an application over a SQLite file (WAL; its `synchronous` is SQLite's own default, FULL)."""
    return Application({"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(file)})


def filled(app: Application[UUID], count: int, events: int) -> list[UUID]:
    """Save orders of this many events."""
    orders = [Order() for _ in range(count)]
    for order in orders:
        for _ in range(events - 1):
            order.add_item(*ITEM)
    app.save(*orders)
    return [order.id for order in orders]


def in_threads(client: Callable[[T], None], shares: Sequence[T]) -> float:
    """Run one client per share at once; return the seconds it took."""
    with ThreadPoolExecutor(len(shares)) as pool:
        begun = time.perf_counter()
        list(pool.map(client, shares))
        return time.perf_counter() - begun
