"""Events, streams and appends for the contracts of event stores, and the harness they share."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from uuid import UUID

import pytest

from diptych.clock import new_id
from diptych.events.recorded import NewEvent, StoredEvent
from diptych.store.protocols import Append, CommandKey, CommandRecord, EventStore, StreamWrite
from diptych.stream import ANY, Expected, StreamName


def event(type: str = "Happened", **data: Any) -> NewEvent:
    """A new event with this data."""
    return NewEvent(new_id().bytes, type, 1, json.dumps(data))


def stream(category: str = "Order", *, tenant: str = "") -> StreamName:
    """A stream that nobody has used."""
    return StreamName(tenant, category, new_id())


def to(name: StreamName, *events: NewEvent, expected: Expected = ANY) -> Append:
    """An append of these events to one stream."""
    return Append([StreamWrite(name, expected, events)])


def key(*, tenant: str = "", user: str = "ada", type: str = "CreateOrder", id: UUID | None = None) -> CommandKey:
    """A command's key, of a new command unless it is given an id."""
    return CommandKey(tenant, user, type, id or new_id())


def record(of: CommandKey, result: str = "null", hash: bytes = b"hash") -> CommandRecord:
    """What an append keeps of a command."""
    return CommandRecord(of, hash, result)


async def everything(store: EventStore) -> Sequence[StoredEvent]:
    """The whole log, page by page."""
    events: list[StoredEvent] = []
    while True:
        page = await store.read_log(after=events[-1].position if events else 0)
        if not page.events:
            return events
        events.extend(page.events)


class EventStoreHarness:
    """What all contracts of event stores stand on. `storage` makes stores, not open, over the same data at each call.

    Its tests are async: they run by anyio's plugin for pytest, on asyncio.
    """

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Stores live on asyncio."""
        return "asyncio"

    @pytest.fixture
    def storage(self) -> Callable[[], EventStore]:
        """A maker of stores; override it."""
        raise NotImplementedError("Give the contract a fixture `storage`: a function that returns your event store.")

    @pytest.fixture
    async def store(self, storage: Callable[[], EventStore]) -> AsyncIterator[EventStore]:
        """An open, empty store, closed after the test."""
        store = storage()
        await store.open()
        yield store
        await store.close()

    @pytest.fixture(autouse=True)
    async def leaves_nothing_checked_out(self, store: EventStore) -> AsyncIterator[None]:
        """After each test, every connection is back in its pool."""
        yield
        assert getattr(store, "connections_in_use", 0) == 0
