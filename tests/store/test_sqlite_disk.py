"""X2 on SQLite: a typed error, nothing half-done, and service resumes by itself when the cause is gone."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from diptych.errors import (
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
    UnknownOutcomeError,
)
from diptych.store.protocols import StoreSettings
from diptych.store.sqlite.events import SqliteEventStore
from diptych.testing.contracts.events_samples import event, everything, stream, to

pytestmark = pytest.mark.anyio

SHORT = StoreSettings(lock_timeout=0.2)


@asynccontextmanager
async def opened(path: str, settings: StoreSettings = SHORT, **more: Any) -> AsyncIterator[SqliteEventStore]:
    store = SqliteEventStore(path, settings, **more)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount the small disk that this test fills")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_full_disk_loses_nothing_and_service_resumes_with_space(small_disk: Path) -> None:
    """X2, L1"""
    acknowledged = 0
    async with opened(str(small_disk / "shop.db")) as store:
        with pytest.raises(StoreFullError, match="free some space"):  # noqa: PT012 - the one of many that fails
            while True:
                acknowledged = (await store.append(to(stream(), *[event(x="x" * 1000) for _ in range(20)]))).position
        assert acknowledged > 0
        assert (await store.head()).position == acknowledged
        _remount(small_disk, "size=20m")
        appended = await store.append(to(stream(), event()))
        assert appended.position == acknowledged + 1
        assert len(await everything(store)) == acknowledged + 1


def _remount(place: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(place)], check=True)


_LIMITED = """
import asyncio, resource, sys
from diptych.errors import StoreFullError
from diptych.store.sqlite.events import SqliteEventStore
from diptych.testing.contracts.events_samples import event, everything, stream, to

async def main():
    store = SqliteEventStore(sys.argv[1])
    await store.open()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    acknowledged = 0
    try:
        while True:
            acknowledged = (await store.append(to(stream(), *[event(x="x" * 1000) for _ in range(20)]))).position
    except StoreFullError:
        pass
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    appended = await store.append(to(stream(), event()))
    assert appended.position == acknowledged + 1, (appended, acknowledged)
    assert len(await everything(store)) == acknowledged + 1
    await store.close()
    print("resumed after", acknowledged)

asyncio.run(main())
"""


def test_a_file_that_may_not_grow_is_a_full_disk(path: str) -> None:
    """X2: EFBIG, which SQLite reports as an error of input and output."""
    done = subprocess.run([sys.executable, "-c", _LIMITED, path], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("resumed after"), done.stderr
    assert int(done.stdout.split()[-1]) > 0


async def test_a_full_disk_at_commit_is_definite_for_the_whole_group(path: str, faulty_disk: Any) -> None:
    """X2, L7"""
    async with opened(path, vfs=faulty_disk.name) as store:
        await store.append(to(stream(), event()))
        faulty_disk.fails["xWrite"] = apsw.SQLITE_FULL
        answers = await asyncio.gather(*[store.append(to(stream(), event())) for _ in range(5)], return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreFullError] * 5
        faulty_disk.fails.clear()
        assert (await store.append(to(stream(), event()))).position == 2


async def test_a_broken_disk_is_no_full_one(path: str, faulty_disk: Any) -> None:
    """X2"""
    async with opened(path, vfs=faulty_disk.name) as store:
        faulty_disk.fails["xWrite"] = apsw.SQLITE_IOERR_LOCK
        with pytest.raises((StoreUnavailableError, UnknownOutcomeError)):
            await store.append(to(stream(), event()))
        faulty_disk.fails.clear()
        assert (await store.append(to(stream(), event()))).position == 1


async def test_a_commit_that_could_not_be_synced_has_an_unknown_outcome(path: str, faulty_disk: Any) -> None:
    """L1: after a crash the frames may be found whole, so nobody may call it failed."""
    async with opened(path, vfs=faulty_disk.name) as store:
        await store.append(to(stream(), event()))
        faulty_disk.fails["xSync"] = apsw.SQLITE_IOERR_FSYNC
        with pytest.raises(UnknownOutcomeError, match="same command id"):
            await store.append(to(stream(), event()))
        faulty_disk.fails.clear()
        await store.append(to(stream(), event()))
        assert [each.position for each in await everything(store)] == [1, 2]


async def test_a_read_only_disk_says_so_and_service_resumes(small_disk: Path) -> None:
    """X2"""
    path = str(small_disk / "shop.db")
    async with opened(path) as store:
        await store.append(to(stream(), event()))
    _remount(small_disk, "ro")
    with pytest.raises(StoreReadOnlyError, match="permissions"):
        await SqliteEventStore(path, SHORT).open()
    _remount(small_disk, "rw")
    async with opened(path) as store:
        assert (await store.append(to(stream(), event()))).position == 2


async def test_a_locked_file_is_unavailable_until_it_is_free(path: str) -> None:
    """X2: another program holds SQLite's own lock."""
    other = apsw.Connection(path)
    async with opened(path) as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked by another program"):
            await store.append(to(stream(), event()))
        assert await everything(store) == []
        other.execute("ROLLBACK")
        assert (await store.append(to(stream(), event()))).position == 1
    other.close()


async def test_a_file_that_somebody_has_for_himself_does_not_stop_the_event_loop(path: str) -> None:
    """X2: commands load on the loop's own thread; waiting there for a lock would hang the whole service."""
    store, name = SqliteEventStore(path), stream()
    await store.open()
    await store.append(to(name, event()))
    await store.close()
    selfish = apsw.Connection(path)
    selfish.execute("PRAGMA locking_mode = exclusive; BEGIN IMMEDIATE; SELECT * FROM store").fetchall()
    store = SqliteEventStore(path)
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="locked by another program"):
        await store.read_stream(name)
    assert time.monotonic() - began < 4
    selfish.close()
    assert len(await store.read_stream(name)) == 1
    await store.close()


async def test_a_process_that_hangs_with_the_lock_is_named(path: str) -> None:
    """X2: bounded by `lock_timeout`."""
    fcntl = pytest.importorskip("fcntl")
    async with opened(path) as store:
        holder = os.open(f"{path}-writer", os.O_RDWR)
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailableError, match="held by another process"):
            await store.append(to(stream(), event()))
        os.close(holder)
        assert (await store.append(to(stream(), event()))).position == 1


async def test_a_deleted_file_takes_no_appends(path: str) -> None:
    """L1: writing to a file without a name would lose what it acknowledges."""
    async with opened(path) as store:
        await store.append(to(stream(), event()))
        os.rename(path, path + ".away")
        await asyncio.sleep(0.15)
        with pytest.raises(StoreUnavailableError, match="deleted or moved"):
            await store.append(to(stream(), event()))
        os.rename(path + ".away", path)
        assert (await store.append(to(stream(), event()))).position == 2


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """X2"""
    with pytest.raises(StoreUnavailableError, match="nowhere"):
        await SqliteEventStore(str(tmp_path / "nowhere" / "shop.db")).open()
