"""Watches the projections of an app: measures every few seconds, keeps records of what is wrong, and tells of it.

Rule: what it cannot see it does not judge: while the store is away nothing is raised and nothing resolved.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from diptych.app.abandoned import Abandoned
from diptych.app.duty_firing import wrong_with_duty
from diptych.app.firing import HANGS, Holding, agreed, holdings, late, orphaned, parked_in_store, wrong_with
from diptych.app.sinks import Sinks
from diptych.app.status import ProjectionStatus, Status
from diptych.errors import DiptychError
from diptych.store.alerts import Alert, AlertChange, AlertKind, Firing
from diptych.store.leases import Board
from diptych.store.protocols import ViewStore
from diptych.subscriptions.trend import History

_log: Final = logging.getLogger("diptych.alerts")
_LOOKS_IN_VAIN: Final = 12  # until nobody is believed to work on what this app does not have
_LONGEST_LOOK: Final = 30.0  # seconds; a store that does not answer for so long is away


class Rounds(NamedTuple):
    """How often it looks, and how often an alert that lasts is updated; times in seconds."""

    every: float = 5.0
    update_after: float = 60.0


class Watched(NamedTuple):
    """What is watched: projections with a limit each in seconds, by name, and how they are measured.

    `worker` is what this process is to the others, empty if it works on no projection: then what only its own loops
    show (that one stopped, or hangs) tells nothing.
    """

    measure: Callable[[], Awaitable[Status]]
    limits: Mapping[str, float]
    worker: str
    limit_of_duties: float = 30.0  # seconds, of sagas and reactions
    beside: ViewStore | None = None  # the store of inline rows and of duties


class Watch:
    """Looks at all projections of an app again and again.

    Its records are in the store of the asynchronous rows, those of inline projections too: one place to look, and never
    in a transaction of the log.
    """

    def __init__(
        self,
        watched: Watched,
        views: ViewStore,
        sinks: Sinks,
        rounds: Rounds | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched, self._views, self._sinks = watched, views, sinks
        self._rounds, self._clock = rounds or Rounds(), clock
        self._histories: dict[str, History] = {}
        self._orphaned_since: dict[str, float] = {}
        self._abandoned = Abandoned(_LOOKS_IN_VAIN * self._rounds.every)
        self._is_blind = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._sinks.start()
        self._task = asyncio.create_task(self._run(), name="diptych-watch")

    async def stop(self) -> None:
        """Look no more. What fires stays open, for others to see or for the next start."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))
        await self._sinks.stop()

    async def look(self) -> Sequence[AlertChange]:
        """Measure, bring the records in line, and deliver what this process changed.

        :raises StoreError: something could not be read or written; nothing is delivered then.
        """
        status = await self._watched.measure()
        board = await self._views.leases.board()
        names = [*(one.name for one in status.projections), *(one.name for one in status.duties)]
        open_ = await self._views.alerts.recent(is_open=True)
        lasting = [each for each in open_ if each.projection in names]
        firing = await self._firing(status, board, lasting)
        changes: list[AlertChange] = []
        if firing or lasting:
            changes += await self._views.alerts.reconcile(firing, names, update_after=self._rounds.update_after)
        changes += await self._resolve_abandoned(board, [each for each in open_ if each.projection not in names])
        self._sinks.send(changes)
        return changes

    async def _resolve_abandoned(self, board: Board, lasting: Sequence[Alert]) -> Sequence[AlertChange]:
        """Resolve those of what neither this app nor anybody alive has; of each that is told once, with the reason."""
        beside = self._watched.beside if lasting else None
        boards = [board] if beside is None else [board, await beside.leases.board()]
        if not (over := self._abandoned.over(self._clock(), lasting, boards)):
            return []
        names = {one.projection for one in over}
        await self._views.alerts.reconcile(over, names, update_after=0)
        return await self._views.alerts.reconcile([], names, update_after=0)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._rounds.every)
            try:
                async with asyncio.timeout(_LONGEST_LOOK):
                    await self.look()
                if self._is_blind:
                    _log.info("The projections can be watched again.")
                self._is_blind = False
            except Exception as error:  # whatever it is, the next look may work
                if not self._is_blind:
                    known = isinstance(error, DiptychError | TimeoutError)
                    why = str(error) or f"no answer for {_LONGEST_LOOK:g} s"
                    _log.warning("The projections cannot be watched: %s", why, exc_info=None if known else error)
                self._is_blind = True

    async def _firing(self, status: Status, board: Board, lasting: Sequence[Alert]) -> list[Firing]:
        found: list[Firing] = []
        known = holdings(board)
        for one in status.projections:
            open_ = {each.kind for each in lasting if each.projection == one.name}
            found += self._of(one, status.head, known.get(one.name), open_)
            if one.parked or "parked" in open_:  # other processes may have parked more, or have mended it
                found += parked_in_store(one.name, await self._views.parked(one.name))
        for duty in status.duties:
            open_ = {each.kind for each in lasting if each.projection == duty.name}
            found += wrong_with_duty(duty, self._watched.limit_of_duties, open_)
        return agreed(found, lasting, {worker.id for worker in board.workers} - {self._watched.worker})

    def _of(
        self, one: ProjectionStatus, head: int, holding: Holding | None, open_: Collection[AlertKind]
    ) -> list[Firing]:
        """Say what is wrong with one, but for its parked keys."""
        limit, worker = self._watched.limits[one.name], self._watched.worker
        history = self._histories.setdefault(one.name, History())
        history.saw(self._clock(), head, one.position)
        found: list[Firing] = []
        if worker and not _is_others(one, holding, worker):
            found = [each for each in wrong_with(one, limit, history.trend, worker=worker) if each.kind != "parked"]
        elif one.lag_seconds > limit:
            found = [late(one, limit, history.trend)]
        if (
            not found and "lag" in open_ and one.lag_seconds > limit / 2
        ):  # who measures a little less does not resolve it
            found = [late(one, limit, history.trend)]
        is_told = any(each.kind in ("stopped", "frozen") for each in found)
        return found + ([] if is_told else self._orphaned(one, holding, limit, is_open="dead" in open_))

    def _orphaned(self, one: ProjectionStatus, holding: Holding | None, limit: float, *, is_open: bool) -> list[Firing]:
        """Say so when nobody works on an asynchronous projection, and not only between one worker and the next."""
        if holding is None or one.mode != "async" or not holding.orphans:
            self._orphaned_since.pop(one.name, None)
            return []
        now, patience = self._clock(), max(limit, HANGS)
        since = self._orphaned_since.setdefault(one.name, now)
        return [orphaned(one.name, holding, patience)] if is_open or now - since > patience else []


def _is_others(one: ProjectionStatus, holding: Holding | None, worker: str) -> bool:
    """Whether the work is done by others alone: then what this process's own loop says is not what holds."""
    if holding is None or one.mode != "async" or worker in holding.owners:
        return False
    return bool(holding.owners) or (one.state == "frozen" and holding.is_taken)
