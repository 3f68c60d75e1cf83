"""Rows of the log as a store reads them: columns of text, of which a row is made only when somebody looks at it.

Most readers want the kind, the stream and the payload of each row and nothing else. A thousand tuples less are also
a thousand objects less that Python's garbage collector visits.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, overload
from zlib import crc32

from diptych.errors import CorruptedEventError
from diptych.events.recorded import KIND_SEPARATOR, ROW_SEPARATOR, SEPARATOR, StoredEvent, kind_of

_POSITION, _VERSION, _STREAM_ID, _KIND, _PAYLOAD = 0, 1, 6, 7, 9  # fields of a row's text, see `text_of`
_FIELDS: Final = 10
_one_row = partial(tuple.__new__, StoredEvent)


class StoredRows(Sequence[StoredEvent]):
    """Rows that passed their checksums. `kinds`, `stream_ids` and `payloads` are columns, as long as the rows."""

    __slots__ = ("_columns", "kinds", "payloads", "stream_ids")

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        """Take the columns of the rows in the order of `text_of`, and their checksums."""
        self._columns = columns
        self.kinds, self.stream_ids, self.payloads = columns[_KIND], columns[_STREAM_ID], columns[_PAYLOAD]

    def __len__(self) -> int:
        return len(self.payloads)

    @overload
    def __getitem__(self, index: int) -> StoredEvent: ...
    @overload
    def __getitem__(self, index: slice) -> "StoredRows": ...
    def __getitem__(self, index: int | slice) -> "StoredEvent | StoredRows":
        fields: list[Any] = [column[index] for column in self._columns]
        if isinstance(index, slice):
            return StoredRows(fields)
        position, version, time, event_id, tenant, category, stream_id, kind, metadata, payload, check = fields
        type, schema, format = kind.split(KIND_SEPARATOR)
        stream = (int(position), tenant, category, stream_id, int(version), bytes.fromhex(event_id))
        return _one_row((*stream, type, int(schema), int(format), payload, metadata, int(time), check))

    def __add__(self, more: "StoredRows") -> "StoredRows":
        return StoredRows([[*one, *other] for one, other in zip(self._columns, more._columns, strict=True)])

    def have_positions_from(self, first: int) -> bool:
        """Whether their positions are this one and the next ones, without a gap."""
        return self._columns[_POSITION] == list(map(str, range(first, first + len(self))))

    def have_versions_from(self, first: int) -> bool:
        """Whether their versions are this one and the next ones, without a gap."""
        return self._columns[_VERSION] == list(map(str, range(first, first + len(self))))


NO_ROWS: Final = StoredRows([[] for _ in range(_FIELDS + 1)])


def unpack(packed: bytes, checksums: str) -> StoredRows:
    """Make rows of their texts and their checksums, as a list of Python is written, without its brackets.

    :raises CorruptedEventError: one is damaged. :raises ValueError: nothing in it can be read.
    """
    texts = packed.split(ROW_SEPARATOR.encode())
    found = list(map(crc32, texts))
    if str(found) != f"[{checksums}]":
        wanted = map(int, checksums.split(","))
        damaged = next((text for text, *pair in zip(texts, found, wanted, strict=False) if pair[0] != pair[1]), b"")
        raise CorruptedEventError(int(damaged.split(SEPARATOR.encode(), 1)[0]))
    fields = packed.decode().replace(ROW_SEPARATOR, SEPARATOR).split(SEPARATOR)
    return StoredRows([*(fields[at::_FIELDS] for at in range(_FIELDS)), found])


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
