"""What runs while the process is killed, and how to see afterwards that nothing acknowledged is lost or doubled."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

from diptych.clock import id_for
from diptych.store.protocols import EventStore
from diptych.stream import StreamName
from tests.campaigns import workload_bank, workload_fulfilment
from tests.campaigns.client import Client, InFile, new_event, operations_in, stream_name, whole_log
from tests.campaigns.history import ANY_VERSION, History, Operation
from tests.campaigns.stores import store_at, url_in
from tests.campaigns.torture import assert_true

APPENDS: Final = 15


def _command(number: int) -> UUID:
    return id_for("command", str(number))


async def _append_all(store: EventStore, client: Client) -> list[Operation]:
    """Three appends at a time: one on a chain of exact versions, one anywhere, one on two streams."""
    done: list[Operation] = []
    for first in range(0, APPENDS, 3):
        done += await asyncio.gather(*(_append(client, number) for number in range(first, first + 3)))
    return done


async def _append(client: Client, number: int) -> Operation:
    random = Random(number)
    writes: list[tuple[StreamName, int]] = [(stream_name(number), ANY_VERSION)]
    if number % 3 == 0:
        writes = [(stream_name(1000), number // 3)]
    if number % 3 == 1:
        writes.append((stream_name(1001), ANY_VERSION))
    filled = [(stream, expected, [new_event(random) for _ in range(number % 2 + 1)]) for stream, expected in writes]
    if number % 3 == 0:
        filled = [(stream, expected, events[:1]) for stream, expected, events in filled]
    return await client.append(filled, _command(number))


def append_events(directory: Path) -> None:
    """Open the store, append, close; every step is written down in the directory."""

    async def run() -> None:
        store = store_at(url_in(directory))
        await store.open()
        recorder = InFile(directory / "history")
        await _append_all(store, Client("first", store, recorder))
        recorder.close()
        await store.close()

    asyncio.run(run())


async def check_events(directory: Path) -> str:
    """Start again, send every command again with its id, and judge the two runs as one history."""
    history = History()
    recorded = directory / "history"
    if recorded.exists():
        history.operations += operations_in(recorded)
    store = store_at(url_in(directory))
    await store.open()
    try:
        recorder = InFile(directory / "again")
        again = await _append_all(store, Client("again", store, recorder))
        recorder.close()
        wrong = [o for o in again if o.outcome not in ("stored", "duplicate")]
        assert not wrong, f"sent again with their ids, these were not answered as the first time (C1): {wrong}"
        history.operations += again
        history.log = await whole_log(store)
    finally:
        await store.close()
    return assert_true(history)


WORKLOADS: Final[Mapping[str, Callable[[Path], None]]] = {
    "events": append_events,
    "bank": workload_bank.work,
    "fulfilment": workload_fulfilment.work,
}
CHECKS: Final[Mapping[str, Callable[[Path], Coroutine[Any, Any, str]]]] = {
    "events": check_events,
    "bank": workload_bank.check,
    "fulfilment": workload_fulfilment.check,
}
