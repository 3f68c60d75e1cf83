"""What has happened in a scenario so far: events, each with its stream and its time.

Rule: this is the log of a story; nothing is run here.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from diptych.clock import new_id_bytes
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent, to_microseconds
from diptych.messages import DomainEvent
from diptych.store.protocols import Append, StreamWrite
from diptych.stream import ANY, StreamName, uuid_text
from diptych.write import guard
from diptych.write.aggregate import Aggregate, replay


class Happened(NamedTuple):
    """An event, where it belongs, when it was recorded, and what is written beside it."""

    stream: StreamName
    event: DomainEvent
    at: datetime
    beside: str = "{}"


class Story:
    """Events in the order of the log; `kinds` are the aggregates that are known, by category."""

    def __init__(self) -> None:
        self.happened: list[Happened] = []
        self.kinds: dict[str, type[Aggregate]] = {}

    def __len__(self) -> int:
        return len(self.happened)

    def streams(self, since: int = 0) -> list[StreamName]:
        """Return the streams that got events, each once, of the whole story or since a place in it."""
        return list(dict.fromkeys(each.stream for each in self.happened[since:]))

    def events(self, stream: StreamName, until: int | None = None) -> list[DomainEvent]:
        """Return the events of a stream, up to a place in the story."""
        return [each.event for each in self.happened[:until] if each.stream == stream]

    def state(self, stream: StreamName, until: int) -> tuple[Aggregate, dict[str, object]] | None:
        """Return an aggregate as it was at a place in the story, and its state; None if its class is not known."""
        kind = self.kinds.get(stream.category)
        if kind is None:
            return None
        aggregate = kind(stream.id)
        replay(aggregate, self.events(stream, until))
        names = [
            name for cls in kind.__mro__ for name in getattr(cls, "__annotations__", ()) if hasattr(aggregate, name)
        ]
        state = {**guard.state_of(aggregate.__dict__), **{name: getattr(aggregate, name) for name in names}}
        hidden = {*Aggregate.__annotations__, "id"}
        return aggregate, {name: value for name, value in state.items() if name not in hidden}

    def appends(self, codec: Codec) -> Iterator[Append]:
        """Yield what brings a store to where the story is: neighbours of one stream and one command together."""
        for (stream, beside), group in groupby(self.happened, lambda each: (each.stream, each.beside)):
            yield Append([StreamWrite(stream, ANY, [codec.encode(each.event) for each in group])], beside)

    def rows(self, codec: Codec) -> Sequence[StoredEvent]:
        """Return the story as a store would have it."""
        versions: dict[StreamName, int] = {}
        rows = []
        for position, (stream, event, at, beside) in enumerate(self.happened, 1):
            version = versions[stream] = versions.get(stream, 0) + 1
            written = codec.encode(event)
            rows.append(
                StoredEvent(
                    position, stream.tenant, stream.category, uuid_text(stream.id), version,
                    new_id_bytes(), written.type, written.schema_version, 0, written.payload, beside,
                    to_microseconds(at), 0,
                )
            )  # fmt: skip
        return rows
