"""The SQLite store keeps the contract of event stores."""

from collections.abc import Callable
from pathlib import Path

import pytest

from diptych.store.protocols import EventStore
from diptych.store.sqlite.events import SqliteEventStore
from diptych.testing.contracts.events import EventStoreContract


class TestSqliteEventStore(EventStoreContract):
    """The store in a file."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Callable[[], EventStore]:
        """A store on the same file each time."""
        return lambda: SqliteEventStore(str(tmp_path / "shop.db"))
