"""Damaged files: bits flipped, pages zeroed, ends cut off, logs deleted, files exchanged; what the store makes of them.

Rule of the campaign: a typed error or the truth; never a wrong event, and never an exception that is not ours.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from diptych.errors import DiptychError
from diptych.store.protocols import EventStore
from tests.campaigns.client import Client, InMemory, label, new_event, stream_name, whole_log
from tests.campaigns.history import ANY_VERSION, Entry
from tests.campaigns.stores import sqlite_store

APPENDS: Final = 120
STREAMS: Final = 9
PAGE: Final = 4096

Damage = Callable[[Path, "Original", Random], bool]


class Verdict(NamedTuple):
    """What became of a damaged store: the error that named the damage, or None, and the log that could be read."""

    error: str | None
    log: list[Entry] | None


class Original:
    """A store as it should be, closed in good order or left as a killed process leaves it, with its -wal."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.log: list[Entry] = asyncio.run(self._fill(seed))

    async def _fill(self, seed: int) -> list[Entry]:
        work = self.folder / "work"
        work.mkdir(parents=True)
        random, store = Random(seed), sqlite_store(work / "shop.db")
        await store.open()
        client = Client("c", store, InMemory())
        for number in range(APPENDS):
            events = [new_event(random) for _ in range(random.choice([1, 2]))]
            await client.append([(stream_name(number % STREAMS), ANY_VERSION, events)])
        shutil.copytree(work, self.folder / "killed")
        log = await whole_log(store)
        await store.close()
        shutil.copytree(work, self.folder / "closed")
        shutil.rmtree(work)
        return log


def flip_bits(target: Path, other: "Original", random: Random) -> bool:
    """One to three bits, anywhere in the database or its log; SQLite ends a log where a checksum is wrong."""
    file = random.choice(_files(target))
    content = bytearray(file.read_bytes())
    for _ in range(random.choice([1, 1, 2, 3])):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    file.write_bytes(content)
    return file.name.endswith("-wal")


def zero_page(target: Path, other: "Original", random: Random) -> bool:
    """A page that was never written."""
    file = random.choice(_files(target))
    content = bytearray(file.read_bytes())
    at = random.randrange(0, len(content), PAGE)
    content[at : at + PAGE] = bytes(len(content[at : at + PAGE]))
    file.write_bytes(content)
    return file.name.endswith("-wal")


def truncate(target: Path, other: "Original", random: Random) -> bool:
    """The end is missing; of a log that is as if the last commits had never been."""
    file = random.choice(_files(target))
    with file.open("r+b") as opened:
        opened.truncate(random.randrange(file.stat().st_size))
    return True


def delete_log(target: Path, other: "Original", random: Random) -> bool:
    """Somebody copied the database and forgot its log."""
    (target / "shop.db-wal").unlink(missing_ok=True)
    (target / "shop.db-shm").unlink(missing_ok=True)
    return True


def foreign_log(target: Path, other: "Original", random: Random) -> bool:
    """The log of another store lies beside it: what SQLite then gives is that other store, whole."""
    shutil.copy(other.folder / "killed" / "shop.db-wal", target / "shop.db-wal")
    return True


def not_a_database(target: Path, other: "Original", random: Random) -> bool:
    """Some other file has its name."""
    (target / "shop.db-wal").unlink(missing_ok=True)
    (target / "shop.db").write_bytes(random.choice([b"hello\n" * 1000, random.randbytes(10_000), b"\0" * PAGE]))
    return True


DAMAGES: Final[tuple[Damage, ...]] = (flip_bits, zero_page, truncate, delete_log, foreign_log, not_a_database)


def _files(target: Path) -> list[Path]:
    """The database, and its log if it has one."""
    return [file for file in (target / "shop.db", target / "shop.db-wal") if file.exists() and file.stat().st_size]


def damaged(original: Original, other: "Original", damage: Damage, random: Random) -> Verdict:
    """Damage a copy, use it in every way, and judge what came of it.

    :raises AssertionError: something else than the truth was told.
    """
    with tempfile.TemporaryDirectory(prefix="diptych-corrupted-") as name:
        target = Path(name) / "copy"
        shutil.copytree(original.folder / random.choice(["closed", "killed"]), target)
        may_lose_tail = damage(target, other, random)
        verdict = asyncio.run(_use(target))
    if verdict.log is not None:
        expected = original.log[: len(verdict.log)] if may_lose_tail else original.log
        truths = [expected, other.log] if damage is foreign_log else [expected]
        assert verdict.log in truths, f"{damage.__name__}: the log was told wrong without an error"
    return verdict


async def _use(target: Path) -> Verdict:
    """Open, read everything, append to every stream, read again."""
    store = sqlite_store(target / "shop.db")
    log: list[Entry] | None = None
    try:
        await store.open()
        log = await whole_log(store)
        await _use_streams(store, log)
    except DiptychError as error:
        return Verdict(f"{type(error).__name__}: {error}", log)
    finally:
        await store.close()
    return Verdict(None, log)


async def _use_streams(store: EventStore, log: list[Entry]) -> None:
    """Every stream is the piece of the log it should be, and grows by one."""
    for number in range(STREAMS):
        name = stream_name(number)
        of_log = [entry.event_id for entry in log if entry.stream == str(name)]
        rows = await store.read_stream(name)
        assert [label(row) for row in rows] == of_log, f"{name} differs from the log without an error"
        recorder = InMemory()
        done = await Client("after", store, recorder).append([(name, len(of_log), [new_event(Random(0))])])
        if done.outcome == "stored":
            assert done.versions == (len(of_log) + 1,)
