"""Several processes on one file: one order, no gap, and news of each other's commits."""

import asyncio
import subprocess
import sys
import time

import pytest

from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.events import SqliteEventStore
from diptych.testing.contracts.events_samples import event, everything, stream, to

pytestmark = pytest.mark.anyio

_WRITER = """
import asyncio, sys
from diptych.store.sqlite.events import SqliteEventStore
from diptych.testing.contracts.events_samples import event, stream, to

async def client(store, last):
    for turn in range(20):
        appended = await store.append(to(stream(), *[event() for _ in range(1 + turn % 3)]))
        assert appended.position > last
        last = appended.position

async def main():
    store = SqliteEventStore(sys.argv[1])
    await store.open()
    await asyncio.gather(*[client(store, 0) for _ in range(4)])
    await store.close()

asyncio.run(main())
"""


async def test_two_processes_append_into_one_order(path: str) -> None:
    """L2, L4, L5: a third process reads all the while, and sees no gap and no change."""
    store = SqliteEventStore(path)
    await store.open()
    writers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", _WRITER, path, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    finished = asyncio.gather(*[writer.communicate() for writer in writers])
    positions: list[int] = []
    while not finished.done() or (await store.head()).position > len(positions):
        page = await store.read_log(after=len(positions))
        positions.extend([each.position for each in page.events])
        await asyncio.sleep(0.001)
    for (_, errors), writer in zip(await finished, writers, strict=True):
        assert writer.returncode == 0, errors.decode()
    assert positions == list(range(1, 2 * 4 * 39 + 1))
    await store.close()


_GREEDY = """
import sys, time
from diptych.store.sqlite.lock import WriterLock

lock = WriterLock(sys.argv[1], 60)
while True:
    with lock:
        time.sleep(0.01)
        print("held", flush=True)
"""


async def test_a_process_that_writes_without_a_pause_starves_no_other(path: str) -> None:
    """Between two groups the lock is free for microseconds: nobody finds that by looking now and then."""
    greedy = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _GREEDY, f"{path}-writer", stdout=subprocess.PIPE
    )
    assert greedy.stdout is not None
    await greedy.stdout.readline()
    store = SqliteEventStore(path, StoreSettings(lock_timeout=2))
    try:
        await store.open()
        for _ in range(10):
            await store.append(to(stream(), event()))
    finally:
        greedy.kill()
        await greedy.communicate()
        await store.close()


async def test_who_waits_hears_of_another_processs_commit(path: str) -> None:
    """P6: the store that appends shares nothing with the one that waits but the file."""
    waiting, writing = SqliteEventStore(path), SqliteEventStore(path)
    await waiting.open()
    await writing.open()
    for position in (0, 1, 2):
        waiter = asyncio.create_task(waiting.wait(position, 20))
        await asyncio.sleep(0.01)
        await writing.append(to(stream(), event()))
        began = time.monotonic()
        await waiter
        assert time.monotonic() - began < 5
    assert len(await everything(waiting)) == 3
    await waiting.close()
    await writing.close()


async def test_types_stored_by_another_process_are_known(path: str) -> None:
    """Both give numbers to types; neither may trust a number that was rolled back or given by the other."""
    first, second = SqliteEventStore(path), SqliteEventStore(path)
    await first.open()
    await second.open()
    for number in range(5):
        await first.append(to(stream(), event(f"A{number}"), event("Shared")))
        await second.append(to(stream(), event("Shared"), event(f"B{number}")))
    types = [each.type for each in await everything(first)]
    expected = [[f"A{number}", "Shared", "Shared", f"B{number}"] for number in range(5)]
    assert types == [type for four in expected for type in four]
    await first.close()
    await second.close()
