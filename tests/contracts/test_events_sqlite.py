"""The SQLite store keeps the contract of event stores."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from diptych.store.sqlite.events import SqliteEventStore
from diptych.testing.contracts.events import EventStoreContract


class TestSqliteEventStore(EventStoreContract):
    """The store in a file."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SqliteEventStore]:
        store = SqliteEventStore(str(tmp_path / "shop.db"))
        await store.open()
        yield store
        await store.close()
