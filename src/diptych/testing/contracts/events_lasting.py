"""The contract of what is left when a store is closed and another is opened over the same data."""

from collections.abc import Callable

import pytest

from diptych.errors import StoreUnavailableError
from diptych.store.protocols import Append, EventStore, StreamWrite
from diptych.stream import ANY
from diptych.testing.contracts.events_samples import EventStoreHarness, event, everything, key, record, stream, to


class LastingContract(EventStoreHarness):
    """A store that was closed gives nothing and loses nothing."""

    async def test_what_was_acknowledged_is_there_after_a_restart(
        self, store: EventStore, storage: Callable[[], EventStore]
    ) -> None:
        """L1, C1: events, and the answers to commands."""
        name, used = stream(), key()
        await store.append(Append([StreamWrite(name, ANY, [event(), event()])], command=record(used, "7")))
        log, head, known = list(await everything(store)), await store.head(), await store.find_command(used)
        id = store.store_id
        await store.close()
        again = storage()
        await again.open()
        try:
            assert (list(await everything(again)), await again.head()) == (log, head)
            assert await again.find_command(used) == known
            assert again.store_id == id
            appended = await again.append(to(name, event(), expected=2))
            assert (appended.position, list(appended.versions)) == (3, [3])
        finally:
            await again.close()

    async def test_a_closed_store_refuses(self, store: EventStore) -> None:
        """L1"""
        name = stream()
        await store.append(to(name, event()))
        await store.close()
        with pytest.raises(StoreUnavailableError):
            await store.append(to(name, event()))
        with pytest.raises(StoreUnavailableError):
            await store.read_log(after=0)
        with pytest.raises(StoreUnavailableError):
            await store.read_slices(after=0, slices=range(1024))
        with pytest.raises(StoreUnavailableError):
            await store.read_stream(name)
        with pytest.raises(StoreUnavailableError):
            await store.head()
        with pytest.raises(StoreUnavailableError):
            await store.find_command(key())
