"""Waiting until sagas and reactions have done all that follows of the log, here and in other processes.

Rule: of a duty whose lanes are all here this process knows by itself, of all others what is written down.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from diptych.app.duty_status import DutyStatus, Looker
from diptych.app.known_duties import KnownDuty
from diptych.app.status import known_here
from diptych.errors import StaleReadError
from diptych.events.codec import Codec
from diptych.events.recorded import to_microseconds
from diptych.store.protocols import EventStore
from diptych.subscriptions.duties import DutyEngine
from diptych.subscriptions.keeping import Keeper

_LOOK: Final = 0.005
_LOOK_AROUND: Final = 0.05  # seconds between two looks at what others have written down


async def settled(
    store: EventStore, codec: Codec, duties: DutyEngine, known: Sequence[KnownDuty], timeout: float
) -> None:
    """Return when all that is in the log is taken in, and what followed is done, and that came to an end.

    Timers that are not due, and what was put aside, are not waited for. :raises StaleReadError: not in time.
    """
    deadline, keepers = time.monotonic() + timeout, {keeper.duty.name: keeper for keeper in duties.keepers}
    while True:
        head = (await store.head()).position
        here = {name: keeper for name, keeper in keepers.items() if keeper.has_all}
        others = [one for one in known if one.name not in here]
        coming = {name for name, keeper in keepers.items() if keeper.is_taking_up}
        behind = {name: _why(keeper, head) for name, keeper in here.items() if not keeper.is_settled(head)}
        if others:
            looker = Looker(store, codec, to_microseconds(duties.clock.now()))
            found = await looker.all(others, known_here(duties))
            behind |= {one.name: _why_elsewhere(one) for one in found if not _is_done(one, keepers, coming)}
        if not behind and (await store.head()).position == head:
            return
        if time.monotonic() > deadline:
            raise StaleReadError([*behind], "behind", timeout, "; ".join(why.rstrip(". ") for why in behind.values()))
        await asyncio.sleep(_LOOK_AROUND if others else _LOOK)


def _why(keeper: Keeper, head: int) -> str:
    errors = [keeper.error, *(work.error for work in keeper.works.values())]
    return next((one for one in errors if one), f"the log is at position {head}")


def _is_done(one: DutyStatus, keepers: Mapping[str, Keeper], coming: Collection[str]) -> bool:
    if one.kind == "inbox":  # how much its broker has is known where its lane is, and nowhere else
        return not keepers or (one.workers > 0 and one.name not in coming)
    return not (one.lag_events or one.waiting or one.late_seconds)


def _why_elsewhere(one: DutyStatus) -> str:
    if not one.workers:
        return "no living process works on it"
    if one.kind == "inbox":
        return "this process is only about to take its messages"
    return one.error or f"{one.waiting} tasks wait, and {one.lag_events} events"
