"""The events that one step of a projection folds: some rows of a page, each decoded only when it is its turn.

Rule: no row is made and no event is decoded here that the fold does not ask for.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from diptych.errors import ConfigurationError, DataError
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.events.rows import stream_ids_of, types_of
from diptych.messages import DomainEvent
from diptych.subscriptions.failures import EventFailure

Decode: TypeAlias = Callable[[int], DomainEvent]
"""Returns the event of the row with this index."""


class Piece(NamedTuple):
    """`indexes` are those of the rows to fold; `types` and `stream_ids` are as long as `rows`."""

    rows: Sequence[StoredEvent]
    indexes: Sequence[int]
    types: Sequence[str]
    stream_ids: Sequence[str]
    decode: Decode

    def event(self, index: int) -> DomainEvent:
        """Decode an event. :raises EventFailure: it cannot be, with its position."""
        try:
            return self.decode(index)
        except (DataError, ConfigurationError) as error:
            raise EventFailure(self.rows[index].position, error) from error


def piece(rows: Sequence[StoredEvent], takes: frozenset[str], codec: Codec) -> Piece:
    """Return those rows that concern a projection, by the stored names of what it takes."""
    types = types_of(rows)
    indexes = [index for index, name in enumerate(types) if name in takes]
    return Piece(rows, indexes, types, stream_ids_of(rows), codec.reading(rows))
