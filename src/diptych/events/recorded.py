"""An event before it is stored, as it is stored, and as a consumer sees it.

Rule: the tuples here are the storage format; nothing in them is decoded.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID
from zlib import crc32

from diptych.messages import DomainEvent, Metadata
from diptych.stream import StreamName, uuid_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
ROW_SEPARATOR: Final = "\x1e"
SEPARATOR: Final = "\x1f"
"""Between rows, and between the fields of a row's text: no stored text has either, see `store/limits.py`."""
KIND_SEPARATOR: Final = "\x1d"
"""Between the parts of `kind_of`; no name has one."""
ROW_BYTE: Final = ROW_SEPARATOR.encode()


class NewEvent(NamedTuple):
    """An event about to be stored. `payload` is JSON text, kept byte for byte; `event_id` is a UUIDv7, 16 bytes."""

    event_id: bytes
    type: str
    schema_version: int
    payload: str
    format: int = 0


class StoredEvent(NamedTuple):
    """A row of the log. `recorded_at` is in microseconds since 1970, UTC; `metadata` and `payload` are JSON text."""

    position: int
    tenant: str
    category: str
    stream_id: str
    version: int
    event_id: bytes
    type: str
    schema_version: int
    format: int
    payload: str
    metadata: str
    recorded_at: int
    checksum: int

    @property
    def stream(self) -> StreamName:
        """The stream it belongs to."""
        return StreamName(self.tenant, self.category, uuid_of(self.stream_id))


def kind_of(row: tuple[Any, ...]) -> str:
    """Type, schema version and format of a row of the log in one text: what says how to decode it."""
    return f"{row[6]}\x1d{row[7]}\x1d{row[8]}"


def text_of(row: tuple[Any, ...]) -> str:
    """Write a row of the log as one text: what its checksum is taken over, and what SQL can write just the same.

    What only the store knows comes last, so that a CRC of all before it can be begun before that is known.
    """
    position, version, time = row[0], row[4], row[11]
    return f"{known_text(row)}\x1f{position}\x1f{version}\x1f{time}"


def known_text(row: tuple[Any, ...]) -> str:
    """The part of `text_of` that is known before the row is stored."""
    _, tenant, category, stream_id, _, event_id, type, schema, format, payload, metadata = row[:11]
    known = f"{event_id.hex().upper()}\x1f{tenant}\x1f{category}\x1f{stream_id}\x1f{type}\x1d{schema}\x1d{format}"
    return f"{known}\x1f{metadata}\x1f{payload}"


def checksum(row: tuple[Any, ...]) -> int:
    """CRC-32 over the text of a row of the log."""
    return crc32(text_of(row).encode())


def chained(text: bytes, before: int | None) -> int:
    """CRC-32 over the texts of a stream up to this one, given that up to the one before: None when it is the first."""
    return crc32(text) if before is None else crc32(text, crc32(ROW_BYTE, before))


def is_intact(row: StoredEvent) -> bool:
    """Whether a row still has the checksum it was written with."""
    return checksum(row) == row[12]


def from_microseconds(value: int) -> datetime:
    """The aware datetime of a stored time."""
    return _EPOCH + timedelta(microseconds=value)


def to_microseconds(at: datetime) -> int:
    """An aware datetime as it is stored, exactly."""
    return (at - _EPOCH) // _MICROSECOND


class StoredMetadata(Metadata):
    """Metadata that is only unpacked from its row when somebody looks at it."""

    def __init__(self, row: StoredEvent) -> None:
        self.__dict__["_row"] = row

    def __getattr__(self, name: str) -> Any:
        row: StoredEvent | None = self.__dict__.get("_row")
        if row is None:
            raise AttributeError(f"Metadata has no {name}")
        if name == "stream":  # these two are what projections ask for
            self.__dict__[name] = row.stream
            return self.__dict__[name]
        if name == "recorded_at":
            return from_microseconds(row.recorded_at)
        del self.__dict__["_row"]
        beside = json.loads(row.metadata)
        command = _uuid(beside.get("command"))
        self.__dict__.update(
            event_id=UUID(bytes=row.event_id),
            stream=row.stream,
            version=row.version,
            position=row.position,
            recorded_at=from_microseconds(row.recorded_at),
            correlation_id=_uuid(beside.get("correlation")) or command,
            causation_id=_uuid(beside.get("causation")) or command,
            command_id=command,
            user_id=beside.get("user"),
            schema_version=row.schema_version,
        )
        return getattr(self, name)


def _uuid(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)


class RecordedEvent(NamedTuple):
    """An event as a consumer gets it: the fact, what was written beside it, and its raw row."""

    event: DomainEvent
    metadata: Metadata
    row: StoredEvent
