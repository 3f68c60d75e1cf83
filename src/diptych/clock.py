"""The time and new ids, both replaceable in tests.

Rule: nothing else in Diptych reads a clock for data, or makes a random id.
"""

import os
import time
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Protocol
from uuid import NAMESPACE_URL, UUID, uuid5

_NAMESPACE = uuid5(NAMESPACE_URL, "diptych")
_PARTS = Struct(">QQ")


class Clock(Protocol):
    """Says what time it is. A command handler may ask for it as a parameter."""

    def now(self) -> datetime:
        """The current time, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current time, aware, in UTC."""
        return datetime.now(UTC)


class FixedClock:
    """A clock for tests: it stands still until told to move."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = at

    def now(self) -> datetime:
        """The time it was set to."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move forward by this much."""
        self._now += by


_last_millisecond = 0
_sequence = 0


def new_id() -> UUID:
    """Make a UUIDv7 (RFC 9562): ordered by time, and strictly increasing within one process.

    The 12 bits after the milliseconds count within one millisecond; when they overflow, the time part runs ahead.
    """
    return UUID(bytes=new_id_bytes())


def new_id_bytes() -> bytes:
    """Make a new id as its 16 bytes, for places that make many."""
    global _last_millisecond, _sequence  # noqa: PLW0603 - the one counter of this process
    millisecond = time.time_ns() // 1_000_000
    if millisecond > _last_millisecond:
        _last_millisecond, _sequence = millisecond, 0
    elif _sequence < 0xFFF:
        _sequence += 1
    else:
        _last_millisecond, _sequence = _last_millisecond + 1, 0
    head = (_last_millisecond << 16) | 0x7000 | _sequence
    return _PARTS.pack(head, _random() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000)


_MANY = Struct(">512Q")
_ahead: list[int] = []


def _random() -> int:
    """64 random bits, fetched many at a time: each fetch lets another thread take Python's lock."""
    while True:
        try:
            return _ahead.pop()
        except IndexError:
            _ahead.extend(_MANY.unpack(os.urandom(_MANY.size)))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ahead.clear)  # or both processes would make the same ids


def id_for(kind: str, natural_key: str) -> UUID:
    """Make an id of a natural key: `id_for("product", "85123A")` is always the same UUIDv5."""
    return uuid5(_NAMESPACE, f"{kind}\0{natural_key}")
