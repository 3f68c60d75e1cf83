"""Waiting until all projections are where the log ends, and saying which rows lack something all the same.

Rule: a key that was put aside is not waited for, and never passed over in silence.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from diptych.errors import StoreError
from diptych.projections.engine import ProjectionEngine
from diptych.store.batches import ParkedEvent

_log: Final = logging.getLogger("diptych.projections")
_MOST: Final = 3  # keys that are named


class CatchingUp:
    """Waits for the projections of one engine."""

    def __init__(self, engine: ProjectionEngine) -> None:
        self._engine = engine
        self._said: Sequence[str] = ()

    async def done(self, timeout: float) -> Sequence[str]:
        """Return when every projection has on disk what is now in the log, and say what was put aside of it.

        :raises StaleReadError: one of them did not get there in time, or will not move.
        """
        await self._engine.caught_up(timeout)
        lacking = await self._lacking()
        for sentence in lacking:
            if sentence not in self._said:
                _log.warning("%s", sentence)
        self._said = lacking
        return lacking

    async def _lacking(self) -> Sequence[str]:
        found = []
        for name, following in self._engine.followings.items():
            if not following.definition.is_isolated:
                continue  # it stops instead
            with suppress(StoreError):  # it has caught up all the same
                parked = await self._engine.views[following.definition.mode].parked(name)
                found += [_sentence(name, parked)] if parked else []
        return tuple(found)


def _sentence(name: str, parked: Sequence[ParkedEvent]) -> str:
    keys = list(dict.fromkeys(event.key for event in parked))
    events = "1 event is" if len(parked) == 1 else f"{len(parked)} events are"
    named = ", ".join(keys[:_MOST]) + (f" and {len(keys) - _MOST} more" if len(keys) > _MOST else "")
    first = next((event for event in parked if event.error), parked[0])
    why = first.error or "for no known reason"
    return f"{name} lacks events: {events} parked, of {named}, since position {first.position}: {why}"
