"""The raw twin: the fastest honest plain Python, doing the same durable work with the best driver (and msgspec).

Here is what it is on any database: its events, its aggregate, its fold. `sqlite` and `postgres` have what stores them:
group commit, versions checked, positions contiguous. It has no checksums, no types of its own, no migrations.
"""

import os
import time
from collections.abc import Awaitable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec

from benchmarks.generator import CREATED, ITEM_ADDED, SHIPPED, Fact, appends

Encoded = tuple[bytes, str, str]
"""An event as it is stored: id, name, JSON."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


def event_id() -> bytes:
    """Make a UUIDv7."""
    tail = os.urandom(10)
    middle = bytes((0x70 | tail[0] & 0x0F, tail[1], 0x80 | tail[2] & 0x3F))
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + middle + tail[3:]


def encode(event: RawEvent) -> Encoded:
    """Write an event down: id, stored name, JSON."""
    return event_id(), _NAMES[type(event)], _encode(event).decode()


def metadata_of(command_id: UUID) -> str:
    """Return what is written beside each event of a command."""
    text = str(command_id)
    return f'{{"command":"{text}"}}'


def event(fact: Fact) -> RawEvent:
    """Make the twin's event of a generated fact."""
    return msgspec.convert(fact.fields, _CLASSES[fact.name])


class RawStore(Protocol):
    """Appends, grouped, and loads."""

    def key(self, order_id: UUID) -> Any:
        """The name of an order's stream, as the driver takes it."""

    def append(
        self,
        stream: Any,
        expected: int,
        events: Sequence[Encoded],
        metadata: str = "{}",
        command: RawCommand | None = None,
    ) -> Awaitable[int]:
        """Append after `expected`; return the last position once it is on disk."""

    async def load(self, stream: Any) -> RawOrder:
        """Read a stream and fold it."""

    async def close(self) -> None:
        """Let everything that waits be written."""


class RawViews(Protocol):
    """Keeps `order_summary` up to date with a log of the raw twin."""

    position: int

    async def advance(self, limit: int = 10_000) -> int:
        """Apply the next batch; return how many events it had."""

    async def row(self, order_id: UUID) -> Sequence[Any] | None:
        """Return customer, status, total in pence, item count and time of creation of an order."""

    async def rows(self) -> Sequence[tuple[Any, ...]]:
        """Return id, customer, status, total in pence and item count of every order; ids as text."""

    async def close(self) -> None:
        """Let go of the database."""


def time_of(recorded_at: int) -> datetime:
    """Read a time as it is stored."""
    return _EPOCH + timedelta(microseconds=recorded_at)


def stored(facts: Iterable[Fact], size: int) -> Iterable[tuple[UUID, int, bytes, str, str, str, int]]:
    """The rows of a whole log, in the order of `appends`: what a twin is filled with before anything is measured."""
    versions: dict[UUID, int] = {}
    for append in appends(facts, size):
        for order_id, written in append.items():
            for version, fact in enumerate(written, versions.get(order_id, 0) + 1):
                payload, now = _encode(fact.fields).decode(), time.time_ns() // 1000
                yield order_id, version, event_id(), fact.name, payload, "{}", now
            versions[order_id] = versions.get(order_id, 0) + len(written)


def fold(page: list[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Fold a page of the log: the rows that are new, and what changes in others."""
    created: dict[Any, tuple[str, int]] = {}
    changes: dict[Any, list[Any]] = {}
    for _position, stream, name, payload, recorded_at in page:
        event = DECODE[name](payload)
        change = changes.get(stream)
        if change is None:
            change = changes[stream] = [Decimal(0), 0, None]
        if type(event) is RawItemAdded:
            change[0] += event.quantity * event.unit_price
            change[1] += 1
        elif type(event) is RawCreated:
            created[stream] = (event.customer_id, recorded_at)
        else:
            change[2] = "shipped"
    new: list[tuple[Any, ...]] = []
    changed: list[tuple[Any, ...]] = []
    for stream, (total, items, status) in changes.items():
        begun = created.get(stream)
        if begun is None:
            changed.append((stream, int(total * 100), items, status))
        else:
            new.append((stream, begun[0], status or "pending", int(total * 100), items, begun[1]))
    return new, changed
