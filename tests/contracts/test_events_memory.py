"""The memory store keeps the contract of event stores."""

from collections.abc import Callable

import pytest

from diptych.store.opening import open_stores
from diptych.store.protocols import EventStore
from diptych.testing.contracts.events import EventStoreContract


class TestMemoryEventStore(EventStoreContract):
    """The peer that needs no file. Its events live as long as the store object does."""

    @pytest.fixture
    def storage(self) -> Callable[[], EventStore]:
        """One store, opened again and again."""
        store = open_stores("memory:").events
        return lambda: store
