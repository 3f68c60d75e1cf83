"""The raw twin on SQLite: one writer thread with group commit, `synchronous=FULL`, reads on the caller's thread.

One process only, as nothing keeps a second writer from it.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple
from uuid import UUID

import apsw

from benchmarks.generator import Fact
from benchmarks.raw import DECODE, Encoded, RawCommand, RawConflict, RawOrder, stored

_EVENTS = """
CREATE TABLE IF NOT EXISTS events(
    position INTEGER PRIMARY KEY, stream BLOB NOT NULL, version INTEGER NOT NULL, event_id BLOB NOT NULL,
    type TEXT NOT NULL, payload TEXT NOT NULL, metadata TEXT NOT NULL, recorded_at INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS by_stream ON events(stream, version);
CREATE TABLE IF NOT EXISTS commands(
    id BLOB PRIMARY KEY, hash BLOB NOT NULL, result TEXT NOT NULL, position INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL) STRICT, WITHOUT ROWID
"""
_VERSION = "SELECT coalesce(max(version), 0) FROM events WHERE stream = ?"
_INSERT = "INSERT INTO events(stream, version, event_id, type, payload, metadata, recorded_at) VALUES(?,?,?,?,?,?,?)"
_COMMAND = "INSERT INTO commands(id, hash, result, position, recorded_at) VALUES(?,?,?,?,?)"
_STREAM = "SELECT type, payload FROM events WHERE stream = ? AND version >= ? ORDER BY version"


class _Job(NamedTuple):
    future: "asyncio.Future[int]"
    stream: bytes
    expected: int
    events: Sequence[Encoded]
    metadata: str
    command: RawCommand | None


def open_database(path: Path, *, synchronous: str = "FULL") -> apsw.Connection:
    """Open a connection as every side does: WAL, 64 MB before a checkpoint is forced, 32 MB of cache."""
    db = apsw.Connection(str(path))
    db.set_busy_timeout(5000)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute("PRAGMA cache_size = -32768")
    return db


class SqliteRawStore:
    """Appends through one writer thread, grouped; reads on the caller's thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_database(path)
        self._db.execute(_EVENTS)
        self.reader = open_database(path)
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="raw-writer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Let the writer finish."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self.reader.close()
        self._db.close()

    def key(self, order_id: UUID) -> bytes:
        """The name of an order's stream, as the driver takes it."""
        return order_id.bytes

    def append(
        self,
        stream: bytes,
        expected: int,
        events: Sequence[Encoded],
        metadata: str = "{}",
        command: RawCommand | None = None,
    ) -> "asyncio.Future[int]":
        """Append after `expected`; the future has the last position once it is on disk."""
        future: asyncio.Future[int] = self._loop.create_future()
        self._jobs.put(_Job(future, stream, expected, events, metadata, command))
        return future

    async def load(self, stream: bytes) -> RawOrder:
        """Read a stream and fold it."""
        order = RawOrder()
        apply = order.apply
        for name, payload in self.reader.execute(_STREAM, (stream, 1)):
            apply(DECODE[name](payload))
        return order

    def _write(self) -> None:
        jobs = self._jobs
        while True:
            group = [jobs.get()]
            while not jobs.empty():
                group.append(jobs.get())
            wanted = [job for job in group if job is not None]
            if wanted:
                outcomes = self._commit(wanted)
                self._loop.call_soon_threadsafe(_deliver, wanted, outcomes)
            if len(wanted) < len(group):
                return

    def _commit(self, group: list[_Job]) -> list[int | None]:
        db, now = self._db, time.time_ns() // 1000
        db.execute("BEGIN IMMEDIATE")
        position: int = db.execute("SELECT coalesce(max(position), 0) FROM events").get
        versions: dict[bytes, int] = {}
        rows: list[tuple[Any, ...]] = []
        commands: list[tuple[Any, ...]] = []
        outcomes: list[int | None] = []
        for job in group:
            version = versions.get(job.stream)
            if version is None:
                version = db.execute(_VERSION, (job.stream,)).get
            if version != job.expected:
                outcomes.append(None)
                continue
            for identity, name, payload in job.events:
                version += 1
                rows.append((job.stream, version, identity, name, payload, job.metadata, now))
            versions[job.stream] = version
            outcomes.append(position + len(rows))
            if job.command is not None:
                commands.append((*job.command, outcomes[-1], now))
        db.executemany(_INSERT, rows)
        if commands:
            db.executemany(_COMMAND, commands)
        db.execute("COMMIT")
        return outcomes


def _deliver(group: list[_Job], outcomes: list[int | None]) -> None:
    for job, outcome in zip(group, outcomes, strict=True):
        if not job.future.cancelled():
            if outcome is None:
                job.future.set_exception(RawConflict(job.expected))
            else:
                job.future.set_result(outcome)


def fill(path: Path, facts: Iterable[Fact], size: int) -> None:
    """Write a whole log at once, before anything is measured."""
    db = open_database(path, synchronous="OFF")
    db.execute(_EVENTS)
    rows = [(order_id.bytes, *row) for order_id, *row in stored(facts, size)]
    db.execute("BEGIN")
    db.executemany(_INSERT, rows)
    db.execute("COMMIT")
    db.close()
