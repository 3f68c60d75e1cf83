"""L5, forced: an appender is held between its position and its commit, while others append and a reader polls."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from diptych.events.recorded import StoredEvent
from diptych.store.batches import Fold, Load, ProjectionTables, RowChanges
from diptych.store.protocols import EventStore
from tests.campaigns.client import Client, InMemory, Reader, new_event, stream_name, whole_log
from tests.campaigns.history import ANY_VERSION, History, Read, violations
from tests.campaigns.naive import NaiveStore
from tests.campaigns.stores import sqlite_store

pytestmark = pytest.mark.anyio


class HoldingFold:
    """An inline projection that stops in the middle of the append's transaction until it is told to go on."""

    name = "holding"

    def __init__(self) -> None:
        self.is_held, self.may_go_on = threading.Event(), threading.Event()

    def loads(self, events: Sequence[StoredEvent]) -> Sequence[Load]:
        """No rows."""
        return ()

    def fold(self, events: Sequence[StoredEvent], rows: Mapping[str, Sequence[Any]]) -> Sequence[RowChanges]:
        """Stand still."""
        self.is_held.set()
        assert self.may_go_on.wait(10)
        return ()

    def script(self, events: Sequence[StoredEvent]) -> None:
        """No SQL."""


async def poll_while_held(
    first: EventStore, others: EventStore, release: Callable[[], None], inline: Sequence[Fold] = ()
) -> History:
    """`first` holds its next append; `others` is the same log, as another writer and the reader see it."""
    recorder, reads = InMemory(), list[Read]()
    reader = Reader("r", others, reads.append)
    clients = Client("held", first, recorder, inline), Client("quick", others, recorder)
    async with asyncio.TaskGroup() as group:
        for number, client in enumerate(clients):
            work = client.append([(stream_name(number), ANY_VERSION, [new_event(Random(number))])])
            group.create_task(_await(work))
            await asyncio.sleep(0.05)
        for _ in range(50):
            await reader.read(100)
            await asyncio.sleep(0.002)
        release()
    while await reader.read(100):
        pass
    return History(recorder.operations, reads, await whole_log(others))


async def _await(work: Awaitable[Any]) -> None:
    await work


async def test_a_reader_sees_nothing_behind_a_held_append(tmp_path: Path) -> None:
    """L5: another process's append waits for the held one, so no position appears behind what a reader saw."""
    first, others = sqlite_store(tmp_path / "shop.db"), sqlite_store(tmp_path / "shop.db")
    fold = HoldingFold()
    await first.open()
    await first.inline.open([ProjectionTables("holding", ())], store_id=first.store_id)
    await others.open()

    history = await poll_while_held(first, others, fold.may_go_on.set, [fold])

    await others.close()
    await first.close()
    assert fold.is_held.is_set()
    assert [entry.position for entry in history.log] == [1, 2]
    assert violations(history) == []


async def test_the_same_pause_catches_a_naive_store() -> None:
    """L5: a store that hands out positions before it commits skips an event here, and the checker says so."""
    store = NaiveStore()
    store.hold_next = hold = asyncio.Event()

    history = await poll_while_held(store, store, hold.set)

    assert [found.what for found in violations(history)] == ["reader r skipped positions [1] of (0, 2]"]
