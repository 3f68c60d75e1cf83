"""The memory store beside what all stores promise: when it is open, and its inline rows."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from diptych.errors import ConfigurationError, StoreUnavailableError
from diptych.events.recorded import StoredEvent
from diptych.store.memory import MemoryEventStore
from diptych.store.opening import open_stores
from diptych.store.protocols import Append, StoreSettings
from diptych.store.sqlite.views import temporary_view_store
from diptych.testing.contracts.events_samples import event, everything, stream, to
from diptych.testing.contracts.view_rows import TALLIES

pytestmark = pytest.mark.anyio


class TickingClock:
    """A clock that never says the same time twice."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


class Seeing:
    """An inline projection that remembers what it was given."""

    name = TALLIES.name

    def __init__(self) -> None:
        self.seen: list[StoredEvent] = []

    def loads(self, events: Sequence[StoredEvent]) -> Sequence[Any]:
        return []

    def fold(self, events: Sequence[StoredEvent], rows: Any) -> Sequence[Any]:
        self.seen.extend(events)
        return []

    def script(self, events: Sequence[StoredEvent]) -> None:
        return None


async def test_an_inline_projection_sees_the_events_as_they_are_stored_p3() -> None:
    """Their times too: a row made of another time would differ after a rebuild."""
    settings = StoreSettings()
    inline = temporary_view_store(settings)
    store, fold = MemoryEventStore(settings, inline=inline, clock=TickingClock()), Seeing()
    await store.open()
    await inline.open([TALLIES], store_id=store.store_id)
    for _ in range(3):
        append = to(stream(), event(), event())
        await store.append(Append(append.writes, inline=[fold]))
    assert fold.seen == await everything(store)
    await store.close()


async def test_a_store_that_is_not_open_says_so() -> None:
    store = MemoryEventStore()
    with pytest.raises(StoreUnavailableError, match="is not open"):
        await store.head()
    await store.open()
    await store.append(to(stream(), event()))
    await store.close()
    with pytest.raises(StoreUnavailableError, match="is not open"):
        await store.append(to(stream(), event()))
    await store.open()
    assert (await store.head()).position == 1


def test_without_a_place_for_rows_it_says_how_to_get_one() -> None:
    with pytest.raises(ConfigurationError, match="open_stores"):
        _ = MemoryEventStore().inline


async def test_closing_closes_its_rows_too() -> None:
    stores = open_stores("memory:")
    await stores.events.open()
    await stores.events.inline.open([TALLIES], store_id=stores.events.store_id)
    await stores.events.close()
    with pytest.raises(StoreUnavailableError):
        await stores.events.inline.places("tallies")
