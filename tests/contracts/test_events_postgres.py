"""The PostgreSQL store keeps the contract of event stores."""

from collections.abc import Callable

import pytest

from diptych.store.postgres.connection import database_of
from diptych.store.postgres.events import PostgresEventStore
from diptych.store.protocols import EventStore
from diptych.testing.contracts.events import EventStoreContract


@pytest.mark.postgres
class TestPostgresEventStore(EventStoreContract):
    """The store on a server."""

    @pytest.fixture
    def storage(self, postgres_url: str) -> Callable[[], EventStore]:
        """A store in the same schema each time."""
        return lambda: PostgresEventStore(database_of(postgres_url)[0])


@pytest.mark.postgres
class TestPooledPostgresEventStore(EventStoreContract):
    """The store behind PgBouncer, which lends a session for one transaction."""

    @pytest.fixture
    def storage(self, pooled_url: str) -> Callable[[], EventStore]:
        """A store in the same schema each time."""
        return lambda: PostgresEventStore(database_of(pooled_url)[0])
