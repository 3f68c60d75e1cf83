"""The memory store keeps the contract of event stores."""

from collections.abc import AsyncIterator

import pytest

from diptych.store.memory import MemoryEventStore
from diptych.testing.contracts.events import EventStoreContract


class TestMemoryEventStore(EventStoreContract):
    """The peer that needs no file."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[MemoryEventStore]:
        store = MemoryEventStore()
        await store.open()
        yield store
        await store.close()
