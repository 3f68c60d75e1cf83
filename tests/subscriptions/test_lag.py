"""Lag is measured against the store's real head, in seconds first."""

from datetime import timedelta
from uuid import UUID

import pytest

from diptych.clock import FixedClock
from diptych.events.codec import Codec
from diptych.messages import DomainEvent
from diptych.store.memory import MemoryEventStore
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY, StreamName
from diptych.subscriptions.lag import Lag, lag_of

pytestmark = pytest.mark.anyio


class Ticked(DomainEvent):
    pass


async def test_lag_is_the_age_of_the_oldest_event_not_applied() -> None:
    clock = FixedClock()
    store = MemoryEventStore(clock=clock)
    await store.open()
    for _ in range(3):
        clock.advance(timedelta(seconds=10))
        await store.append(Append([StreamWrite(StreamName("", "Clock", UUID(int=1)), ANY, [Codec().encode(Ticked())])]))
    clock.advance(timedelta(seconds=1))
    assert await lag_of(store, 1, now=clock.now()) == Lag(2, 11.0)
    assert await lag_of(store, 3, now=clock.now()) == Lag(0, 0.0)
    assert await lag_of(store, 4, now=clock.now()) == Lag(0, 0.0)
    assert await lag_of(store, 2, now=clock.now() - timedelta(hours=1)) == Lag(1, 0.0)  # another clock's
    seen = await store.head()
    assert await lag_of(store, 1, now=clock.now(), head=seen._replace(position=2)) == Lag(1, 11.0)
    assert await lag_of(store, 3, now=clock.now(), head=seen._replace(position=9)) == Lag(0, 0.0)  # its end is lost
