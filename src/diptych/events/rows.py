"""Rows of the log as a store reads them: columns of text, of which a row is made only when somebody looks at it.

Most readers want the kind, the stream and the payload of each row and nothing else. A thousand tuples less are also
a thousand objects less that Python's garbage collector visits.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, TypeAlias, overload
from zlib import crc32

from diptych.errors import CorruptedEventError
from diptych.events.recorded import (
    KIND_SEPARATOR,
    ROW_SEPARATOR,
    SEPARATOR,
    StoredEvent,
    chained,
    checksum,
    kind_of,
)

_FIELDS: Final = 10
_POSITION, _VERSION, _STREAM_ID, _KIND, _PAYLOAD = (slice(at, None, _FIELDS) for at in (7, 8, 3, 4, 6))  # see `text_of`
_ROW_BYTE: Final = ROW_SEPARATOR.encode()
_one_row = partial(tuple.__new__, StoredEvent)


class StoredRows(Sequence[StoredEvent]):
    """Rows that passed their checksums. `kinds`, `stream_ids` and `payloads` are columns, as long as the rows."""

    __slots__ = ("_checksums", "_fields")

    def __init__(self, fields: list[str], checksums: list[int] | None = None) -> None:
        """Take the fields of all rows, one row after the other in the order of `text_of`.

        Without their checksums, each is worked out when its row is made.
        """
        self._fields, self._checksums = fields, checksums

    def __len__(self) -> int:
        return len(self._fields) // _FIELDS

    @overload
    def __getitem__(self, index: int) -> StoredEvent: ...
    @overload
    def __getitem__(self, index: slice) -> "StoredEvents": ...
    def __getitem__(self, index: int | slice) -> "StoredEvent | StoredEvents":
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        start = (index % len(self)) * _FIELDS
        event_id, tenant, category, stream_id, kind, metadata, payload, position, version, time = self._fields[
            start : start + _FIELDS
        ]
        type, schema, format = kind.split(KIND_SEPARATOR)
        stream = (int(position), tenant, category, stream_id, int(version), bytes.fromhex(event_id))
        row = (*stream, type, int(schema), int(format), payload, metadata, int(time))
        return _one_row((*row, checksum(row) if self._checksums is None else self._checksums[index]))

    def __add__(self, more: "StoredRows") -> "StoredRows":
        known = self._checksums is not None and more._checksums is not None
        checksums = [*(self._checksums or ()), *(more._checksums or ())]
        return StoredRows(self._fields + more._fields, checksums if known else None)

    @property
    def kinds(self) -> list[str]:
        """How each row is to be decoded: see `kind_of`."""
        return self._fields[_KIND]

    @property
    def stream_ids(self) -> list[str]:
        """The id of each row's stream."""
        return self._fields[_STREAM_ID]

    @property
    def payloads(self) -> list[str]:
        """The payload of each row."""
        return self._fields[_PAYLOAD]

    def have_positions_from(self, first: int) -> bool:
        """Whether their positions are this one and the next ones, without a gap."""
        return self._fields[_POSITION] == list(map(str, range(first, first + len(self))))

    def have_versions_from(self, first: int) -> bool:
        """Whether their versions are this one and the next ones, without a gap."""
        return self._fields[_VERSION] == list(map(str, range(first, first + len(self))))


StoredEvents: TypeAlias = Sequence[StoredEvent]
NO_ROWS: Final = StoredRows([])


def unpack(packed: bytes, checksums: str) -> StoredRows:
    """Make rows of their texts and their checksums, as a list of Python is written, without its brackets.

    :raises CorruptedEventError: one is damaged. :raises ValueError: nothing in it can be read.
    """
    texts = packed.split(_ROW_BYTE)
    found = list(map(crc32, texts))
    if str(found) != f"[{checksums}]":
        wanted = map(int, checksums.split(","))
        damaged = next((text for text, *pair in zip(texts, found, wanted, strict=False) if pair[0] != pair[1]), b"")
        raise CorruptedEventError(int(damaged.rsplit(SEPARATOR.encode(), 3)[1]))
    return StoredRows(_fields(packed), found)


def unpack_whole(packed: bytes, before: int | None, chain: int) -> StoredRows | None:
    """Make rows of the texts of a stream, checked all at once against its `chained` checksum; None if it differs."""
    return StoredRows(_fields(packed)) if chained(packed, before) == chain else None


def _fields(packed: bytes) -> list[str]:
    return packed.decode().replace(ROW_SEPARATOR, SEPARATOR).split(SEPARATOR)


def kinds_of(rows: Sequence[StoredEvent]) -> Sequence[str]:
    """How each row is to be decoded: see `kind_of`."""
    return rows.kinds if isinstance(rows, StoredRows) else list(map(kind_of, rows))


def payloads_of(rows: Sequence[StoredEvent]) -> Sequence[str]:
    """The payload of each row."""
    return rows.payloads if isinstance(rows, StoredRows) else [row[9] for row in rows]


def types_of(rows: Sequence[StoredEvent]) -> Sequence[str]:
    """The stored name of each row's event."""
    if not isinstance(rows, StoredRows):
        return [row[6] for row in rows]
    names = {kind: kind.split(KIND_SEPARATOR, 1)[0] for kind in set(rows.kinds)}
    return list(map(names.__getitem__, rows.kinds))


def stream_ids_of(rows: Sequence[StoredEvent]) -> Sequence[str]:
    """The id of each row's stream, as text."""
    return rows.stream_ids if isinstance(rows, StoredRows) else [row[3] for row in rows]
