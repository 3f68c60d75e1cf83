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
    ROW_BYTE,
    ROW_SEPARATOR,
    SEPARATOR,
    StoredEvent,
    chained,
    checksum,
    kind_of,
)

Columns: TypeAlias = Sequence[list[str]]
"""The fields of all rows, one list for each field of `text_of`, in its order."""

_FIELDS: Final = 10
_EVENT_ID, _STREAM_ID, _KIND, _PAYLOAD, _POSITION, _VERSION = 0, 3, 4, 6, 7, 8  # see `text_of`
_one_row = partial(tuple.__new__, StoredEvent)


class StoredRows(Sequence[StoredEvent]):
    """Rows that passed their checksums. `kinds`, `stream_ids` and `payloads` are columns, as long as the rows."""

    __slots__ = ("_checksums", "_columns")

    def __init__(self, columns: Columns, checksums: list[int] | None = None) -> None:
        """Without their checksums, each is worked out when its row is made."""
        self._columns, self._checksums = columns, checksums

    def __len__(self) -> int:
        return len(self._columns[_PAYLOAD])

    @overload
    def __getitem__(self, index: int) -> StoredEvent: ...
    @overload
    def __getitem__(self, index: slice) -> "StoredEvents": ...
    def __getitem__(self, index: int | slice) -> "StoredEvent | StoredEvents":
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        event_id, tenant, category, stream_id, kind, metadata, payload, position, version, time = [
            column[index] for column in self._columns
        ]
        type, schema, format = kind.split(KIND_SEPARATOR)
        stream = (int(position), tenant, category, stream_id, int(version), bytes.fromhex(event_id))
        row = (*stream, type, int(schema), int(format), payload, metadata, int(time))
        return _one_row((*row, checksum(row) if self._checksums is None else self._checksums[index]))

    def __add__(self, more: "StoredRows") -> "StoredRows":
        known = self._checksums is not None and more._checksums is not None
        checksums = [*(self._checksums or ()), *(more._checksums or ())]
        columns = [mine + theirs for mine, theirs in zip(self._columns, more._columns, strict=True)]
        return StoredRows(columns, checksums if known else None)

    @property
    def kinds(self) -> list[str]:
        """How each row is to be decoded: see `kind_of`."""
        return self._columns[_KIND]

    @property
    def stream_ids(self) -> list[str]:
        """The id of each row's stream."""
        return self._columns[_STREAM_ID]

    @property
    def positions(self) -> list[int]:
        """The position of each row."""
        return list(map(int, self._columns[_POSITION]))

    @property
    def payloads(self) -> list[str]:
        """The payload of each row."""
        return self._columns[_PAYLOAD]

    @property
    def end(self) -> tuple[int, bytes]:
        """The position and the event id of the last row."""
        return int(self._columns[_POSITION][-1]), bytes.fromhex(self._columns[_EVENT_ID][-1])

    def have_positions_from(self, first: int) -> bool:
        """Whether their positions are this one and the next ones, without a gap."""
        return self._columns[_POSITION] == list(map(str, range(first, first + len(self))))

    def have_versions_from(self, first: int) -> bool:
        """Whether their versions are this one and the next ones, without a gap."""
        return self._columns[_VERSION] == list(map(str, range(first, first + len(self))))


StoredEvents: TypeAlias = Sequence[StoredEvent]
NO_ROWS: Final = StoredRows([[]] * _FIELDS)


def unpack(packed: bytes, checksums: str) -> StoredRows:
    """Make rows of their texts and their checksums, as a list of Python is written, without its brackets.

    :raises CorruptedEventError: one is damaged. :raises ValueError: nothing in it can be read.
    """
    texts = packed.split(ROW_BYTE)
    found = list(map(crc32, texts))
    if str(found) != f"[{checksums}]":
        wanted = list(map(int, checksums.split(",")))
        raise CorruptedEventError(int(_damaged(texts, found, wanted).rsplit(SEPARATOR.encode(), 3)[1]))
    return StoredRows(_columns(packed), found)


def unpack_whole(packed: bytes, before: int | None, chain: int) -> StoredRows | None:
    """Make rows of the texts of a stream, checked all at once against its `chained` checksum; None if it differs."""
    return StoredRows(_columns(packed)) if chained(packed, before) == chain else None


def checked(columns: Columns, checksums: list[int]) -> StoredRows:
    """Make rows of their fields and their checksums. :raises CorruptedEventError: one is damaged."""
    try:
        texts = map(SEPARATOR.join, zip(*columns, strict=True))
        found = list(map(crc32, map(str.encode, texts)))
    except ValueError as error:  # a separator has got into a field
        raise CorruptedEventError(int(columns[_POSITION][0])) from error
    if found != checksums:
        texts = map(SEPARATOR.join, zip(*columns, strict=True))
        damaged = _damaged(list(map(str.encode, texts)), found, checksums)
        raise CorruptedEventError(int(damaged.rsplit(SEPARATOR.encode(), 3)[1]))
    return StoredRows(columns, found)


def _damaged(texts: list[bytes], found: list[int], wanted: list[int]) -> bytes:
    """The first text whose checksum is not the one that it was stored with."""
    return next((text for text, *pair in zip(texts, found, wanted, strict=False) if pair[0] != pair[1]), b"")


def _columns(packed: bytes) -> Columns:
    fields = packed.decode().replace(ROW_SEPARATOR, SEPARATOR).split(SEPARATOR)
    return [fields[at::_FIELDS] for at in range(_FIELDS)]


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


def end_of(rows: Sequence[StoredEvent]) -> tuple[int, bytes]:
    """The position and the event id of the last row."""
    return rows.end if isinstance(rows, StoredRows) else (rows[-1][0], rows[-1][5])


def positions_of(rows: Sequence[StoredEvent]) -> Sequence[int]:
    """The position of each row."""
    return rows.positions if isinstance(rows, StoredRows) else [row[0] for row in rows]
