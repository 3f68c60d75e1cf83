"""The PostgreSQL view store keeps the contracts."""

from collections.abc import AsyncIterator, Callable

import pytest

from diptych.store.postgres.connection import database_of
from diptych.store.postgres.views import PostgresViewStore
from diptych.store.protocols import StoreSettings, ViewStore
from diptych.testing.contracts.view_alerts import ViewAlertsContract
from diptych.testing.contracts.view_reads import ViewReadsContract
from diptych.testing.contracts.view_scripts import ViewScriptsContract


class TestPostgresViewStore(ViewReadsContract, ViewScriptsContract, ViewAlertsContract):
    """Every store made here has given all its connections back at the end."""

    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        """Where they are."""
        return postgres_url

    @pytest.fixture
    async def storage(self, url: str) -> AsyncIterator[Callable[[], ViewStore]]:
        """Stores on one schema."""
        made: list[PostgresViewStore] = []

        def make() -> ViewStore:
            made.append(PostgresViewStore(database_of(url)[0], StoreSettings()))
            return made[-1]

        yield make
        assert [store.connections_in_use for store in made] == [0] * len(made)


class TestPooledPostgresViewStore(TestPostgresViewStore):
    """The same behind PgBouncer."""

    @pytest.fixture
    def url(self, pooled_url: str) -> str:
        """Where they are."""
        return pooled_url
