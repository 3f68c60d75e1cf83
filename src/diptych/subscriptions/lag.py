"""How far behind a subscription is: in seconds first, in events second."""

from datetime import UTC, datetime
from typing import NamedTuple

from diptych.store.protocols import EventStore, Head


class Lag(NamedTuple):
    """`seconds` is the age of the oldest event not yet applied, 0 when there is none; `events` how many there are."""

    events: int
    seconds: float


async def lag_of(store: EventStore, position: int, *, now: datetime | None = None, head: Head | None = None) -> Lag:
    """Measure a position against the store's real head, not against what a reader last saw."""
    end = head or await store.head()
    if end.position <= position:
        return Lag(0, 0.0)
    oldest = (await store.read_log(after=position, limit=1)).events
    if not oldest:
        return Lag(0, 0.0)
    moment = (now or datetime.now(UTC)).timestamp()
    return Lag(end.position - position, max(0.0, moment - oldest[0].recorded_at / 1_000_000))
