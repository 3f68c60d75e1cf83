"""What a process knows of a projection as a whole, from the board and from its own lanes.

Rule: it tells the projection's `Progress`, and changes nothing.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from diptych.projections.choosing import Choice, stopped_build
from diptych.projections.plan import Definition
from diptych.projections.site import Site
from diptych.store.generations import Generation
from diptych.store.leases import Board
from diptych.subscriptions.elsewhere import Elsewhere
from diptych.subscriptions.progress import Place, Progress, State


class _Ruling(NamedTuple):
    state: State | None = None
    error: str | None = None
    is_expected: bool = False  # see `Progress.is_ruled`


class Knowledge:
    """Keeps the progress of one projection informed."""

    def __init__(self, definition: Definition, progress: Progress, site: Site) -> None:
        self._definition, self._progress, self._site = definition, progress, site
        self._elsewhere = Elsewhere(progress, site.events, site.views)
        self._places: Mapping[int, Place] = {}  # all lanes of the live generation, as they were on disk
        self._troubles: Mapping[int, str] = {}
        self._said: Mapping[tuple[int, int], tuple[int, str]] = {}  # by lane, under which epoch, on the last board
        self._stuck: str | None = None  # why what is built beside it stands
        self._of, self._seen = 0, dict[int, Place]()  # where lanes were when others had them, and of which generation
        self._ruled = _Ruling()

    def close(self) -> None:
        """Look no more."""
        self._elsewhere.close()

    def is_wanted(self) -> None:
        """Look closely at the lanes that others have, for as long as somebody waits."""
        self._elsewhere.is_wanted()

    def doubt(self) -> None:
        """Its owners may know more than this code: what it does not take may be of interest to them."""
        self._elsewhere.knows = False

    async def look(self) -> None:
        """See where the lanes of others are. :raises StoreError:"""
        await self._elsewhere.look()

    def take_in(self, board: Board, choice: Choice, gave_up: Mapping[int, str]) -> None:
        """Learn how things are."""
        live = choice.live
        rows = [] if live is None else [row for row in board.lanes if row.generation == live.number]
        self._places = {
            row.lane: Place(row.checkpoint.position, row.checkpoint.recorded_at, row.checkpoint.event_id)
            for row in rows
        }
        alive = {worker.id for worker in board.workers}
        mine = {one.number for one in board.generations if one.projection == self._definition.name}
        said = {
            (row.generation, row.lane): (row.epoch, row.trouble)
            for row in board.lanes
            if row.generation in mine and row.trouble and row.owner in alive
        }
        # what is left of an owner before is wiped by the next right after it has claimed: once is not enough
        lasts = {lane: trouble for lane, (_, trouble) in said.items() if self._said.get(lane) == said[lane]}
        self._troubles = {lane: why for (number, lane), why in lasts.items() if live and number == live.number}
        building = {one.number for one in board.generations if one.state == "building"}
        self._stuck = next((why for (number, _), why in sorted(lasts.items()) if number in building), None)
        self._said = said
        knows = choice.is_fitting and live is not None and live.number not in gave_up
        self._elsewhere.lanes, self._elsewhere.knows = max(1, len(rows)), knows
        self._progress.is_readable = choice.is_readable
        self._ruled = self._rule(board, choice, gave_up)

    def reckon(self, held: Collection[int], coming: Collection[int]) -> None:
        """Put it together with the lanes that are worked on here, and with those that will be at once."""
        progress = self._progress
        if self._of != progress.generation:
            self._of, self._seen = progress.generation, {}
        self._seen.update(progress.elsewhere)
        here = {*held} or {*coming}  # beside lanes that are held, those that come are another's until they are claimed
        others = {lane: max(at, self._seen.get(lane, at)) for lane, at in self._places.items() if lane not in here}
        if coming and not held:  # nothing is known of them but what their owner had found to be of this history
            least = min([self._seen.get(lane, Place()) for lane in coming])
            progress.stands(least, least.position)
        elif not held:
            progress.has_no_lanes()
        progress.hears(others)
        state, error, is_expected = self._ruled
        trouble = next((why for lane, why in sorted(self._troubles.items()) if lane not in held), None)
        if state in (None, "running") and trouble is not None:
            state, error = "stopped", trouble
        progress.is_ruled(state, error, is_expected=is_expected)
        if others and progress.is_waited_for:
            self._elsewhere.is_wanted()

    def _rule(self, board: Board, choice: Choice, gave_up: Mapping[int, str]) -> _Ruling:
        """Say what holds for all of it, whatever the lanes here do."""
        live, name = choice.live, self._definition.name
        pause = board.paused.get(name)
        if pause is not None:
            return _Ruling("paused", pause.reason, board.is_held(name))
        if live is None:
            return _Ruling("frozen", choice.why)
        is_taken = any(live.number in worker.takes and worker.id != self._site.worker for worker in board.workers)
        is_ours = choice.is_fitting and live.number not in gave_up
        if not is_ours and not is_taken:
            if live.number in gave_up:
                return _Ruling("stopped", gave_up[live.number])
            if choice.builds and self._stuck is not None:
                return _Ruling("frozen", stopped_build(name, live, self._stuck))
            meanwhile = f"{name} is being built again, and generation {live.number} is read meanwhile"
            return _Ruling("frozen", choice.why or meanwhile, choice.builds)
        if self._definition.mode == "inline" or (is_ours and self._site.rules.is_worker):
            return _Ruling()
        if is_taken or self._is_newly_read(live, board):
            return _Ruling("running")
        given_up = next((row.trouble for row in board.lanes if row.generation == live.number and row.trouble), None)
        nobody = f"no living process works on {name}. Start one: `diptych run --only workers`"
        return _Ruling("stopped", given_up or nobody, is_expected=given_up is None)

    def _is_newly_read(self, live: Generation, board: Board) -> bool:
        """Whether those who worked on what was read before may just not have seen yet what is read now."""
        its = {one.number for one in board.generations if one.projection == live.projection}
        is_new = board.now - live.since < self._site.rules.pace.lease * 1_000_000
        return is_new and any(its & worker.takes for worker in board.workers)
