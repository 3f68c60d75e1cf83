"""A page of the log without the events of other slices: their places are there, and empty.

Rule: whoever works on a page counts places from its beginning, and need not know which of them are empty.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final, TypeVar, overload

from diptych.errors import StoreCorruptedError
from diptych.events.recorded import StoredEvent
from diptych.events.rows import positions_of, stream_ids_of
from diptych.store.protocols import Page
from diptych.stream import slice_of

ELSEWHERE: Final = ""
"""The type, and the id of the stream, of what is in an empty place."""

T = TypeVar("T")


class SlicedRows(Sequence[StoredEvent]):
    """The rows of a page of some slices, each in its place.

    In an empty place is a row that has its position, a time that is not before its own, and, but for the last of the
    page, no event id.
    """

    __slots__ = ("_after", "_found", "_indexes", "_last", "_length", "_places")

    def __init__(self, page: Page, slices: range) -> None:
        """:raises StoreCorruptedError: an event is in the slice of another stream, and who looks there passes it."""
        self._after, self._length, self._last = page.after, page.scanned - page.after, page.last
        self._found = page.events
        self._places = [position - page.after - 1 for position in positions_of(page.events)]
        self._indexes = dict(zip(self._places, range(len(self._places)), strict=True))
        if any(slice_of(id) not in slices for id in set(stream_ids_of(page.events))):
            row = next(row for row in page.events if slice_of(row.stream_id) not in slices)
            raise StoreCorruptedError(
                f"The event at position {row.position} is not in the slice of its stream {row.stream}: who reads only "
                "the slices of some lanes passes it over. Verify the store; a rebuild with --jobs 1 reads all slices."
            )

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> StoredEvent: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[StoredEvent]: ...
    def __getitem__(self, index: int | slice) -> "StoredEvent | Sequence[StoredEvent]":
        place = range(self._length)[index]
        if isinstance(place, range):
            return [self[at] for at in place]
        found = self._indexes.get(place)
        return self._empty(place) if found is None else self._found[found]

    def spread(self, values: Sequence[str]) -> list[str]:
        """Put what belongs to the rows into their places."""
        spread = [ELSEWHERE] * self._length
        for place, value in zip(self._places, values, strict=True):
            spread[place] = value
        return spread

    def by_place(self, read: Callable[[int], T]) -> Callable[[int], T]:
        """Make what takes the index of a row take its place."""
        indexes = self._indexes
        return lambda place: read(indexes[place])

    def _empty(self, place: int) -> StoredEvent:
        position, event_id, time = self._after + 1 + place, b"", self._last.recorded_at
        if position == self._last.position:
            event_id = self._last.event_id
        elif (later := bisect_left(self._places, place)) < len(self._places):
            time = self._found[later].recorded_at
        return StoredEvent(position, "", "", ELSEWHERE, 0, event_id, ELSEWHERE, 0, 0, "", "", time, 0)
