"""The raw twin: the fastest honest plain Python, doing the same durable work with the best driver (apsw, msgspec).

One writer thread with group commit, `synchronous=FULL`, versions checked, positions contiguous, reads on the caller's
thread. It has no checksums, no types of its own, no migrations, no idempotency and one process only.
"""

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple
from uuid import UUID

import apsw
import msgspec

from benchmarks.generator import CREATED, ITEM_ADDED, SHIPPED, Fact, appends

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


class RawAddress(msgspec.Struct):
    """A shipping address."""

    street: str
    postal_code: str
    city: str
    country: str


class RawCreated(msgspec.Struct):
    """An order begins."""

    customer_id: str
    shipping_address: RawAddress


class RawItemAdded(msgspec.Struct):
    """An item is added."""

    product_id: str
    description: str
    quantity: int
    unit_price: Decimal


class RawShipped(msgspec.Struct):
    """An order is shipped."""

    carrier: str
    tracking_code: str
    parcels: int
    weight_grams: int


RawEvent = RawCreated | RawItemAdded | RawShipped

_CLASSES: dict[str, type[RawEvent]] = {CREATED: RawCreated, ITEM_ADDED: RawItemAdded, SHIPPED: RawShipped}
_NAMES: dict[type[Any], str] = {cls: name for name, cls in _CLASSES.items()}
DECODE = {name: msgspec.json.Decoder(cls).decode for name, cls in _CLASSES.items()}
_encode = msgspec.json.Encoder().encode


class RawConflict(Exception):  # noqa: N818 - the twin of an error, not one of ours
    """The stream was not at the expected version."""


class RawOrder:
    """The twin of an aggregate: what an order's events come to."""

    __slots__ = ("item_count", "status", "total", "version")

    def __init__(self) -> None:
        self.status, self.total, self.item_count, self.version = "", Decimal(0), 0, 0

    def apply(self, event: RawEvent) -> None:
        """Fold one event."""
        self.version += 1
        if type(event) is RawItemAdded:
            self.total += event.quantity * event.unit_price
            self.item_count += 1
        elif type(event) is RawCreated:
            self.status = "pending"
        else:
            self.status = "shipped"


class RawCommand(NamedTuple):
    """What is remembered of a command, so that it takes effect once: its id, a hash of it, its result."""

    id: bytes
    hash: bytes
    result: str


class _Job(NamedTuple):
    future: "asyncio.Future[int]"
    stream: bytes
    expected: int
    events: Sequence[tuple[bytes, str, str]]
    metadata: str
    command: RawCommand | None


def event_id() -> bytes:
    """Make a UUIDv7."""
    tail = os.urandom(10)
    middle = bytes((0x70 | tail[0] & 0x0F, tail[1], 0x80 | tail[2] & 0x3F))
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + middle + tail[3:]


def encode(event: RawEvent) -> tuple[bytes, str, str]:
    """Write an event down: id, stored name, JSON."""
    return event_id(), _NAMES[type(event)], _encode(event).decode()


def metadata_of(command_id: UUID) -> str:
    """Return what is written beside each event of a command."""
    text = str(command_id)
    return f'{{"command":"{text}"}}'


def event(fact: Fact) -> RawEvent:
    """Make the twin's event of a generated fact."""
    return msgspec.convert(fact.fields, _CLASSES[fact.name])


def open_database(path: Path, *, synchronous: str = "FULL") -> apsw.Connection:
    """Open a connection as every side does: WAL, 64 MB before a checkpoint is forced, 32 MB of cache."""
    db = apsw.Connection(str(path))
    db.set_busy_timeout(5000)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute("PRAGMA cache_size = -32768")
    return db


class RawStore:
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

    def append(
        self,
        stream: bytes,
        expected: int,
        events: Sequence[tuple[bytes, str, str]],
        metadata: str = "{}",
        command: RawCommand | None = None,
    ) -> "asyncio.Future[int]":
        """Append after `expected`; the future has the last position once it is on disk."""
        future: asyncio.Future[int] = self._loop.create_future()
        self._jobs.put(_Job(future, stream, expected, events, metadata, command))
        return future

    def load(self, stream: bytes) -> RawOrder:
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


def fill(path: Path, facts: Iterable[Fact], size: int = 100) -> None:
    """Write a whole log at once, before anything is measured."""
    db = open_database(path, synchronous="OFF")
    db.execute(_EVENTS)
    versions: dict[UUID, int] = {}
    rows: list[tuple[Any, ...]] = []
    for append in appends(facts, size):
        for order_id, written in append.items():
            for version, fact in enumerate(written, versions.get(order_id, 0) + 1):
                payload, now = _encode(fact.fields).decode(), time.time_ns() // 1000
                rows.append((order_id.bytes, version, event_id(), fact.name, payload, "{}", now))
            versions[order_id] = versions.get(order_id, 0) + len(written)
    db.execute("BEGIN")
    db.executemany(_INSERT, rows)
    db.execute("COMMIT")
    db.close()
