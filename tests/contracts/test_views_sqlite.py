"""The SQLite view store, in a file, keeps the contracts."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from diptych.store.protocols import StoreSettings, ViewStore
from diptych.store.sqlite.views import SqliteViewStore, views_file
from diptych.testing.contracts.view_alerts import ViewAlertsContract
from diptych.testing.contracts.view_reads import ViewReadsContract
from diptych.testing.contracts.view_scripts import ViewScriptsContract


class TestSqliteViewStore(ViewReadsContract, ViewScriptsContract, ViewAlertsContract):
    """Every store made here has given all its connections back at the end."""

    @pytest.fixture
    async def storage(self, tmp_path: Path) -> AsyncIterator[Callable[[], ViewStore]]:
        """Stores on one file."""
        made: list[SqliteViewStore] = []

        def make() -> ViewStore:
            made.append(SqliteViewStore(views_file(str(tmp_path / "shop.views.db")), StoreSettings()))
            return made[-1]

        yield make
        assert [store.connections_in_use for store in made] == [0] * len(made)
