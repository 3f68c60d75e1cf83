"""One projection over its generations: what this process runs of it and builds of it.

Rule: it decides, and has it done by its runners.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from diptych.errors import AccessDeniedError, StoreError
from diptych.projections.building import Builder
from diptych.projections.choosing import Choice, built_by_others, cannot_build, choose, may_not_build
from diptych.projections.knowing import Knowledge
from diptych.projections.plan import Definition
from diptych.projections.runner import Listener, Runner
from diptych.projections.site import Site
from diptych.projections.tenure import Leased, Unleased
from diptych.projections.work import Work
from diptych.store.generations import Generation
from diptych.store.leases import Board
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.spreading import Share

_log: Final = logging.getLogger("diptych.projections")
_WHOLE: Final = Share(frozenset([0]), frozenset([0]))


class Following:
    """Follows one projection."""

    def __init__(self, definition: Definition, site: Site) -> None:
        self.definition, self._site = definition, site
        tables = tuple(table.name for table in definition.tables.tables)
        self.progress = Progress(definition.name, definition.mode, tables, definition.takes)
        self.choice = Choice(None, False, True, False)
        self._is_inline = definition.mode == "inline"
        self._is_worked_on = site.rules.is_worker or self._is_inline
        self._builder = Builder(definition.tables, site)
        self._knowledge = Knowledge(definition, self.progress, site)
        self._runners: dict[int, Runner] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}  # the runners', also of those that are to end
        self._gave_up: dict[int, str] = {}  # generations that this code cannot go on with, and why
        ends_when_hung = site.rules.exits_when_hung and not self._is_inline  # on whose lane nothing can be noted
        self._listener = Listener(self._has_other_lanes, site.look, site.has_hung, site.observer, ends_when_hung)
        self.progress.wanted = self._is_wanted

    @property
    def building(self) -> Progress | None:
        """Where the generation is that is built beside the one that is read; None if there is none."""
        return next((one.carrier.progress for one in self._runners.values() if one.is_building), None)

    @property
    def has_lanes(self) -> bool:
        """Whether this process works on some of the lanes that are read."""
        runner = self._runners.get(self.progress.generation)
        return runner is not None and bool(runner.carrier.lanes)

    async def parked_keys(self) -> Mapping[str, str]:
        """Return the keys that are parked in any lane, and why; those here if the store is away."""
        try:
            found = await self._site.views.parked(self.definition.name)
        except StoreError:
            return dict.fromkeys(map(str, range(self.progress.parked)), self.progress.error or "")
        return {event.key: event.error for event in reversed(found)}

    async def look_elsewhere(self, head: int) -> None:
        """See where the lanes of others are. :raises StoreError:"""
        self.progress.head = max(self.progress.head, head)
        await self._knowledge.look()

    async def see(self, board: Board) -> frozenset[int]:
        """Look at how things are, and return which generations this process takes. :raises StoreError:"""
        generations = [one for one in board.generations if one.projection == self.definition.name]
        self.choice = choice = self._choose(board, generations)
        takes = set()
        if choice.live is not None and choice.is_fitting and self._is_worked_on:
            takes.add(choice.live.number)
        is_waiting = built_by_others(self.definition.tables, board, self._site.worker)
        if choice.builds and self._is_worked_on and not is_waiting:
            try:
                takes.add(await self._builder.begun(generations))
            except AccessDeniedError:
                self.choice = choice = may_not_build(choice, self.definition.name)
            except StoreError as error:  # a full disk, say: what is read is worked on all the same
                self.choice = choice = cannot_build(choice, self.definition.name, str(error))
                _log.warning("%s", choice.why)
        self._keep_runners(takes)
        self._steer(board)
        self._knowledge.take_in(board, choice, self._gave_up)
        self._build(board)
        return frozenset(self._runners)

    def _choose(self, board: Board, generations: Sequence[Generation]) -> Choice:
        live = {one.number for one in generations if one.state == "live"}
        others = [worker for worker in board.workers if worker.id != self._site.worker]
        return choose(
            self.definition.tables,
            generations,
            self._site.rules.on_change,
            is_development=self._site.rules.is_development,
            is_taken=any(worker.takes & live for worker in others),
        )

    def share(self, shares: Mapping[int, Share]) -> None:
        """Learn which lanes are this process's."""
        for number, runner in self._runners.items():
            runner.has_share(_WHOLE if self._is_inline else shares.get(number, Share()))
        self._has_other_lanes()

    def retry(self) -> None:
        """Try parked keys again; what stands goes on, and what this code gave up it takes again."""
        self._gave_up.clear()
        for runner in self._runners.values():
            runner.retry()
        self._site.look()

    def close(self) -> None:
        """Look no more."""
        self._knowledge.close()

    def _is_wanted(self) -> None:
        for runner in self._runners.values():
            runner.wake()
        self._knowledge.is_wanted()

    def _has_other_lanes(self) -> None:
        runner = self._runners.get(self.progress.generation)
        if runner is not None and runner.gave_up is not None:
            self._knowledge.doubt()
        if runner is None:
            self._knowledge.reckon((), ())
        else:
            self._knowledge.reckon(runner.carrier.lanes, runner.coming)

    def _keep_runners(self, takes: set[int]) -> None:
        for number, runner in list(self._runners.items()):
            if runner.gave_up is not None:
                self._gave_up[number] = runner.gave_up
            if number not in takes - self._gave_up.keys():
                del self._runners[number]
                runner.shows(Progress(self.definition.name))
                runner.end()
        live = 0 if self.choice.live is None else self.choice.live.number
        if live != self.progress.generation:
            self.progress.turns_to(live)
            if live in self._runners:
                self._runners[live].is_building = False
                self._runners[live].shows(self.progress)
        for number in takes - self._gave_up.keys() - self._runners.keys():
            if number in self._tasks and not self._tasks[number].done():
                continue  # the one before has lanes to let go of yet, and would let go of those of this one, too
            progress = self.progress if number == live else Progress(self.definition.name)
            runner = Runner(self._work(number), progress, self._listener, is_building=number != live)
            self._runners[number] = runner
            name = f"diptych-projection-{self.definition.name}-{number}"
            self._tasks[number] = self._site.start(runner.run, name)

    def _work(self, number: int) -> Work:
        site, name = self._site, self.definition.name
        tenure = (
            Unleased(site.views, name, number)
            if self._is_inline
            else Leased(site.views.leases, site.worker, name, number)
        )
        return Work(self.definition, number, site.views, site.reader, site.rules.pace, tenure, site.alone)

    def _steer(self, board: Board) -> None:
        for number, runner in self._runners.items():
            runner.pause(self.definition.name in board.paused)
            if self._is_inline:
                places = [row.checkpoint.position for row in board.lanes if row.generation == number]
                runner.hears(max(places, default=0))
            runner.is_asked([one for one in board.requests if one.generation == number])
            runner.are_troubled([one.lane for one in board.lanes if one.generation == number and one.trouble])

    def _build(self, board: Board) -> None:
        """Take the next step towards the generation that shall be read, or away from those that were."""
        if self._builder.is_busy or not self._is_worked_on:
            return
        for number, runner in self._runners.items():
            if runner.is_building and runner.is_caught_up and 0 in runner.carrier.lanes:
                behind = self._site.reader.head.position - self._site.rules.pace.page_events
                if all(row.checkpoint.position >= behind for row in board.lanes if row.generation == number):
                    self._builder.finish(number)
                    return
        live = self._runners.get(self.progress.generation)
        if live is not None and 0 in live.carrier.lanes:
            generations = [one for one in board.generations if one.projection == self.definition.name]
            self._builder.tidy(generations, board.now)


class Crew:
    """The projections of one view store that this process knows."""

    def __init__(self, members: Sequence[Following], site: Site) -> None:
        self.members, self._site = members, site

    async def see(self, board: Board) -> frozenset[int]:
        """Look at how things are, and return which generations this process takes."""
        takes: set[int] = set()
        head = None
        for member in self.members:
            try:
                takes |= await member.see(board)
                if member.progress.elsewhere:
                    head = head or await self._site.events.head()
                    await member.look_elsewhere(head.position)
            except StoreError as error:  # one that cannot be begun, say, keeps no other from its turn
                _log.warning("%s cannot be looked after: %s", member.definition.name, error)
        return frozenset(takes)

    def share(self, shares: Mapping[int, Share]) -> None:
        """Learn which lanes are this process's."""
        for member in self.members:
            member.share(shares)
