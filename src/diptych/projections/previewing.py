"""What a rebuild would take: which events, how long at the speed of a moment's trial, how much room.

Rule: nothing of the store is changed; the trial writes to a temporary file.
"""

import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from diptych.errors import DiptychError
from diptych.projections.backfill import Backfill, Subject
from diptych.store.opening import open_stores
from diptych.store.outside import OutsideLog

_TRIAL: Final = 1.0  # seconds
_FIRST: Final = 500  # events of the first step of the trial; each step is twice as long


class Preview(NamedTuple):
    """`rate`: events of the log per second, None where the trial told nothing. `bytes` is what the rows take now."""

    events: Mapping[str, int]  # of those types that the projection acts on
    head: int
    rate: float | None
    bytes: int

    @property
    def seconds(self) -> float | None:
        """How long it would take, at that rate."""
        return self.head / self.rate if self.rate else None


async def preview(subject: Subject, log: OutsideLog) -> Preview:
    """Look, and try for about a second."""
    head = (await subject.events.head()).position
    takes = subject.definition.takes
    counted: dict[str, int] = {}
    for kind in await log.kinds():
        if kind.type in takes:
            counted[kind.type] = counted.get(kind.type, 0) + kind.events
    live = [one for one in await subject.views.generations.all(subject.name) if one.state == "live"]
    room = sum([await subject.views.generations.size(subject.name, one.number) for one in live])
    return Preview(counted, head, await _rate(subject, head), room)


async def _rate(subject: Subject, head: int) -> float | None:
    """Fold the beginning of the log into a temporary file, for about a second."""
    if head == 0:
        return None
    views = open_stores("memory:").views
    await views.open([subject.definition.tables], store_id=subject.events.store_id)
    try:
        (made,) = await views.generations.all(subject.name)
        began = time.monotonic()
        async with Backfill(subject._replace(views=views), made.number) as trial:
            await trial.take(range(made.lanes))
            done, step = 0, _FIRST
            while done < head and time.monotonic() - began < _TRIAL:
                done, step = min(done + step, head), step * 2
                await trial.build(done)
            return done / (time.monotonic() - began)
    except DiptychError:  # what stops it will be said by the rebuild itself
        return None
    finally:
        await views.close()
