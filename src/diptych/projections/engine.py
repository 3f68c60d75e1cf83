"""All projections of one process: started, watched and stopped together.

Rule: each runs by itself; whatever one of them does, the others and the appends go on (P7).
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from diptych.errors import StaleReadError, StoreError, StoreUnavailableError
from diptych.events.codec import Codec
from diptych.projections.alone import Alone
from diptych.projections.following import Crew, Following
from diptych.projections.inline import InlineFold
from diptych.projections.plan import Definition, Mode
from diptych.projections.site import Rules, Site
from diptych.store.batches import ProjectionTables
from diptych.store.protocols import Appended, EventStore, ViewStore
from diptych.subscriptions.coordinator import Coordinator
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.reading import LogReader
from diptych.telemetry.observer import QUIET, Observer

_log: Final = logging.getLogger("diptych.projections")
_HUNG: Final = 70  # what the process ends with (EX_SOFTWARE)


class ProjectionEngine:
    """Runs projections over an open event store. The stores stay the caller's to open and close.

    Give `event_store.inline` and `view_store` the tables named by `inline_tables` and `async_tables` when opening them.
    """

    def __init__(
        self,
        event_store: EventStore,
        view_store: ViewStore,
        codec: Codec,
        definitions: Sequence[Definition],
        rules: Rules | None = None,
        observer: Observer = QUIET,
    ) -> None:
        for definition in definitions:
            for event in definition.events:
                codec.register(event)
        self._store, self._rules, self._observer = event_store, rules or Rules(), observer
        self._definitions = tuple(definitions)
        self.reader = LogReader(event_store, codec, self._rules.pace)
        self._group, self._alone = asyncio.TaskGroup(), Alone()
        self._running: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._teams = [self._team("async", view_store)]
        if self.inline_tables:
            self._teams.append(self._team("inline", event_store.inline))
        followings = {one.definition.name: one for team in self._teams for one in team.crew.members}
        self.followings: Mapping[str, Following] = {
            definition.name: followings[definition.name] for definition in self._definitions
        }
        self.views: Mapping[Mode, ViewStore] = {team.mode: team.views for team in self._teams}
        self.progress: Mapping[str, Progress] = {name: one.progress for name, one in self.followings.items()}
        self.inline: tuple[InlineFold, ...] = tuple(
            InlineFold(definition, codec) for definition in self._definitions if definition.mode == "inline"
        )

    @property
    def async_tables(self) -> tuple[ProjectionTables, ...]:
        """What the view store keeps."""
        return tuple(definition.tables for definition in self._definitions if definition.mode == "async")

    @property
    def inline_tables(self) -> tuple[ProjectionTables, ...]:
        """What commits with the log."""
        return tuple(definition.tables for definition in self._definitions if definition.mode == "inline")

    @property
    def worker(self) -> str:
        """The id under which this process works on asynchronous projections; empty if it does not."""
        return self._teams[0].coordinator.id

    async def start(self) -> None:
        """Begin to run, and return when the inline projections stand at the head: from then on appends carry them.

        :raises StoreUnavailableError: one of them cannot get there, for its store fails again and again.
        """
        self._running = asyncio.create_task(self._run(), name="diptych-projections")
        for team in self._teams:
            await team.coordinator.has_looked.wait()
        head = (await self._store.head()).position
        for following in self.followings.values():
            if following.definition.mode == "inline":
                await self._bring_up(following, head)

    async def _bring_up(self, following: Following, head: int) -> None:
        progress, stood, since = following.progress, -1, time.monotonic()
        while not progress.will_not_move and (progress.saved < head or progress.state == "frozen"):
            await progress.wait_for(head, min(1.0, self._rules.pace.start_patience))
            worked_on = following.building or progress
            if worked_on.position != stood or worked_on.error is None:
                stood, since = worked_on.position, time.monotonic()
            elif time.monotonic() - since > self._rules.pace.start_patience:
                raise StoreUnavailableError(
                    f"{progress.name} is inline and cannot be brought up to position {head}: {worked_on.error}"
                )

    async def stop(self) -> None:
        """Stop after what is being committed now, and let go of all lanes. A handler that hangs is left behind."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait((running,))
        for following in self.followings.values():
            following.close()
        for team in self._teams:
            await team.coordinator.leave()

    def retry(self, name: str) -> None:
        """Try the parked keys of a projection that are in lanes here again; a stopped one goes on."""
        self.followings[name].retry()

    async def look(self) -> None:
        """Learn at once which generations are live, and where the lanes of others are. :raises StoreError:"""
        for team in self._teams:
            await team.coordinator.look(team.crew)

    def appended(self, appended: Appended, events: int) -> None:
        """Note an append of this process: the inline projections that it carried stand at its last event."""
        for name in appended.folded:
            progress = self.progress[name]
            if appended.position - events <= progress.position < appended.position:
                progress.advance(appended.position, appended.recorded_at, appended.event_id)

    async def caught_up(self, timeout: float = 5.0) -> None:
        """Return when every projection has on disk what is now in the log: the generation of it that is read then.

        :raises StaleReadError: one of them did not get there in time, or will not move; it says where that one is.
        """
        began = time.monotonic()
        head = (await self._store.head()).position
        waited_for: list[int] = []
        while waited_for != (read := [progress.generation for progress in self.progress.values()]):
            waited_for = read
            for progress in self.progress.values():
                left = max(0.0, began + timeout - time.monotonic())
                if not await progress.wait_for(head, left):
                    raise _stale(progress, head, time.monotonic() - began)
            with suppress(StoreError):
                await self.look()  # somebody may have had another generation read meanwhile

    def _team(self, mode: Mode, views: ViewStore) -> "_Team":
        rules = self._rules
        is_worker = mode == "async" and rules.is_worker
        coordinator = Coordinator(views.leases, rules.pace, is_worker=is_worker, exits_when_hung=rules.exits_when_hung)
        place = (self._store, views, self.reader, coordinator.id, rules, self._alone)
        site = Site(*place, self._begin, coordinator.hurry, self._has_hung, self._observer)
        members = [Following(definition, site) for definition in self._definitions if definition.mode == mode]
        return _Team(mode, views, Crew(members, site), coordinator)

    async def _run(self) -> None:
        async with self._group as group:
            if self._rules.is_worker or self.inline:
                group.create_task(self.reader.follow(), name="diptych-log-reader")
            for team in self._teams:
                group.create_task(team.coordinator.run(team.crew), name="diptych-coordinator")

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> asyncio.Task[None]:
        return self._group.create_task(_survived(work, name), name=name)

    def _has_hung(self, is_put_aside: bool) -> None:
        if self._rules.exits_when_hung and self._ending is None:
            self._ending = asyncio.create_task(self._end_process(is_put_aside), name="diptych-ends")

    async def _end_process(self, is_put_aside: bool) -> None:
        """End, and leave the thread that hangs behind: whoever watches over the process starts a clean one.

        Where the event is still the next one, the lanes are not let go of: whoever takes them after this process, as
        those of one that was killed, is careful, and does not end on it for ever.
        """
        _log.critical("A handler hangs. Its event is known now, and this process ends with code %d.", _HUNG)
        if is_put_aside:
            with suppress(TimeoutError, StoreError):
                async with asyncio.timeout(self._rules.pace.lease):
                    await self.stop()
        logging.shutdown()
        os._exit(_HUNG)


class _Team(NamedTuple):
    mode: Mode
    views: ViewStore
    crew: Crew
    coordinator: Coordinator


def _stale(progress: Progress, head: int, waited: float) -> StaleReadError:
    reason = progress.state if progress.will_not_move else "behind"
    trouble = f"; last error: {progress.error.rstrip('.')}" if progress.error else ""
    return StaleReadError([progress.name], reason, waited, f"at position {progress.saved} of {head}{trouble}")


async def _survived(work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Run something to its end: whatever it raises is said, and keeps nothing else from going on."""
    try:
        await work()
    except Exception:
        _log.exception("%s ended by an error that nobody foresaw", name)
