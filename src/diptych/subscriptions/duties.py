"""All sagas and reactions of one process: begun, watched and stopped together.

Rule: each lane runs by itself; whatever one of them does, the others and the appends go on.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from diptych.clock import Clock
from diptych.errors import ConfigurationError, RowChangedError
from diptych.store.batches import RowChanges, RowGuard, ViewBatch
from diptych.store.protocols import Append, EventStore
from diptych.subscriptions.care import Ward
from diptych.subscriptions.coordinator import Coordinator
from diptych.subscriptions.duty import Desk, Duty
from diptych.subscriptions.keeping import DutyCrew, Keeper
from diptych.subscriptions.reading import LogReader, Pace
from diptych.subscriptions.shelf import one_task
from diptych.subscriptions.tasks import DONE, START, Task, start_of


class DutyEngine:
    """Runs duties over an open event store, whose inline rows were opened with all their tables."""

    def __init__(self, store: EventStore, reader: LogReader, clock: Clock, pace: Pace, duties: Sequence[Duty]) -> None:
        self._store, self._reader, self.clock, self._pace = store, reader, clock, pace
        self.duties = tuple(duties)
        self.keepers: tuple[Keeper, ...] = ()
        self._coordinator = Coordinator(store.inline.leases, pace)
        self._running: asyncio.Task[None] | None = None

    async def start(self, *, is_worker: bool) -> None:
        """Write down where each of them begins, before any command; and begin to work, if this process does."""
        if not self.duties:
            return
        generations = await self._generations()
        for duty in self.duties:
            await self._begin(duty, generations[duty.name])
        if not is_worker:
            return
        ward = Ward()
        desks = {
            duty.name: Desk(self._store, self._reader, self.clock, self._pace, generations[duty.name], ward)
            for duty in self.duties
        }
        self.keepers = tuple(Keeper(duty, desks[duty.name], self._coordinator.id) for duty in self.duties)
        crew = DutyCrew(self.keepers, generations)
        self._running = asyncio.create_task(self._coordinator.run(crew), name="diptych-duties")

    async def stop(self) -> None:
        """Finish what is being performed, and let go of all lanes."""
        running, self._running = self._running, None
        if running is None:
            return
        running.cancel()
        await asyncio.wait((running,))
        await asyncio.gather(*[keeper.stop() for keeper in self.keepers])
        await self._coordinator.leave()

    async def _generations(self) -> Mapping[str, int]:
        """Return the generation that each of them works on. :raises ConfigurationError: other code made its rows."""
        found: dict[str, int] = {}
        for duty in self.duties:
            live = [one for one in await self._store.inline.generations.all(duty.name) if one.state == "live"]
            if not live or not live[0].fits(duty.kept):
                raise ConfigurationError(
                    f"{duty.name}: what it keeps has another shape than this version of Diptych gives it. "
                    "Finish what it owes with the version that began it."
                )
            found[duty.name] = live[0].number
        return found

    async def _begin(self, duty: Duty, generation: int) -> None:
        """Write down where it begins: once, whoever of several processes is first."""
        id = start_of(duty.name)
        if await one_task(self._store, duty.tasks, generation, id) is not None:
            return
        head = await self._store.head()
        place = (head.position, head.event_id.hex()) if duty.begins_at_head else (0, "")
        start = Task(id, -1, START, "", place[0], duty.name, place[1], DONE, head.recorded_at)
        batch = ViewBatch(
            duty.name,
            generation,
            [],
            0,
            changes=[RowChanges(duty.tasks, [start])],
            guards=[RowGuard(duty.tasks, (id,))],
        )
        with suppress(RowChangedError):
            await self._store.append(Append([], beside=batch))
