"""What an operator does to projections from outside: pause, retry, skip, rebuild, roll back, accept.

Rule: nothing of the app but its declarations is used: no handler runs and nothing that it provides is made (P9). What
changes rows is asked of the lane's owner, and each act is written down.
"""

import asyncio
import getpass
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from diptych.app.application import App
from diptych.app.known_duties import no_such
from diptych.app.outline import outline
from diptych.app.reaching import Parked, candidates, reached
from diptych.errors import ConfigurationError, NotFoundError, RebuildRefusedError, SwapRefusedError
from diptych.projections.backfill import Subject
from diptych.projections.plan import Definition
from diptych.store.generations import Generation
from diptych.store.leases import Board, Leases, Request, Verb
from diptych.store.opening import log_from_outside, open_stores
from diptych.store.protocols import ViewStore
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.reading import Pace

_LOOK: Final = 0.05  # seconds between two looks whether a request is done


class Operator(NamedTuple):
    """One projection of an app whose stores are open. `by` is who acts, as far as the machine can tell."""

    subject: Subject
    by: str

    @property
    def name(self) -> str:
        """The projection's."""
        return self.subject.name

    @property
    def views(self) -> ViewStore:
        """Where its rows are."""
        return self.subject.views

    async def pause(self, seconds: float | None, reason: str) -> None:
        """Have it stand, for so long or until it is resumed."""
        await paused(self.views.leases, self.name, seconds, reason, self.by)

    async def resume(self, reason: str) -> None:
        """Have it go on."""
        await resumed(self.views.leases, self.name, reason, self.by)

    async def ask(
        self, verb: Verb, *, key: str = "", position: int = 0, reason: str = "", within: float
    ) -> Sequence[Request]:
        """Ask the owners of its lanes, and wait for what they say; those that are not done have no outcome.

        They are those of what is read, and those of what is built beside it for this code where that stands.
        :raises NotFoundError: there is nothing parked under this key, or no lane stands before the
            position, or there is no event there yet.
        """
        if position > (head := (await self.subject.events.head()).position):  # nobody has seen what it would leave out
            raise NotFoundError(f"There is no event at position {position} yet: the log ends at {head}.")
        asked: list[Request] = []
        asking, board = self.views.leases.ask_generation, await self.views.leases.board()
        parked = await self._parked(board)
        for one in reached(board, self.subject.definition, parked, verb, position):
            its = key or next((event.key for event in parked[one.number] if event.position == position), "")
            asked += await asking(one.number, verb, key=its, position=position, reason=reason, by=self.by)
        if not asked:
            what = f"the key {key} is not parked" if key else f"no lane stands before position {position}"
            raise NotFoundError(f"{self.name}: {what}. Look: diptych projection show {self.name}")
        return await answered(self.views, self.name, asked, within)

    async def parked(self) -> Parked:
        """Return what is parked in what is read and in what is built for this code, by generation."""
        return await self._parked(await self.views.leases.board())

    async def _parked(self, board: Board) -> Parked:
        among = candidates(board, self.subject.definition)
        return {one.number: await self.views.parked(self.name, one.number) for one in among}

    async def rebuild_key(self, key: UUID, reason: str, within: float) -> Sequence[Request]:
        """Ask the owner of a key's lane to fold its rows again, and wait for what it says.

        :raises RebuildRefusedError: rows of one stream are not apart from others, or other code made them.
        """
        live, definition = await self.live(), self.subject.definition
        if not definition.is_isolated:
            why = "its rows are made of several streams each, so that no key can be built alone; rebuild all of it"
            raise RebuildRefusedError(self.name, f"{why}: diptych projection rebuild {self.name}")
        if not live.fits(definition.tables):
            why = f"generation {live.number} was made by other code, which alone could fold a key of it"
            raise RebuildRefusedError(self.name, why)
        lane, asking = lane_of(str(key), live.lanes), self.views.leases.ask_lane
        asked = await asking(self.name, "rebuild", lane, key=str(key), reason=reason, by=self.by)
        return await answered(self.views, self.name, asked, within)

    async def live(self) -> Generation:
        """Return the generation that is read. :raises NotFoundError: there is none yet."""
        for one in await self.views.generations.all(self.name):
            if one.state == "live":
                return one
        raise NotFoundError(f"{self.name} has no rows yet. Start the service once: diptych run")

    async def rollback(self, number: int | None, reason: str) -> tuple[Generation, Generation]:
        """Have an earlier generation read again: the last that was kept, or the one that is named. Returns old, new.

        :raises SwapRefusedError: nothing was kept, or this code could not read it.
        """
        old = await self.live()
        kept = [one for one in await self.views.generations.all(self.name) if one.state == "kept"]
        chosen = [one for one in kept if number in (None, one.number)]
        if not chosen:
            if number is None or not kept:
                why = "no earlier one was kept, so there is nothing to go back to"
                raise SwapRefusedError(self.name, number or old.number, why)
            have = ", ".join(str(one.number) for one in kept)
            raise SwapRefusedError(self.name, number, f"it was not kept; there are: {have}")
        new = max(chosen, key=lambda one: one.since)
        if new.shape != self.subject.definition.tables.shape:
            why = "its rows have another shape than this code reads; roll back the code first, and then with that code"
            raise SwapRefusedError(self.name, new.number, why)
        await self.views.generations.swap(self.name, new.number)
        await self._note("rollback", reason, f"generation {new.number} is read instead of {old.number}")
        return old, new

    async def accept(self, reason: str) -> Generation:
        """Note that the rows that are read are as good as if the code of today had made them.

        :raises SwapRefusedError: that code could not work on them.
        """
        live, tables = await self.live(), self.subject.definition.tables
        if not live.fits(tables):
            why = "its rows have another shape or version than the code; they have to be built again"
            raise SwapRefusedError(self.name, live.number, why)
        await self.views.generations.accept(self.name, live.number, tables.code)
        await self._note("accept", reason, f"generation {live.number} is taken for what the code of today makes")
        return live

    async def drop(self, number: int, reason: str) -> None:
        """Drop a generation that is not read. :raises SwapRefusedError: it is, or there is none of this number."""
        await self.views.generations.drop(self.name, number)
        await self._note("drop", reason, f"generation {number} is dropped")

    async def rebuilt(self, reason: str, outcome: str) -> None:
        """Write down how a rebuild ended."""
        await self._note("rebuild", reason, outcome)

    async def _note(self, verb: str, reason: str, outcome: str) -> None:
        await self.views.leases.note(self.name, verb, reason=reason, by=self.by, outcome=outcome)


async def paused(leases: Leases, name: str, seconds: float | None, reason: str, by: str) -> None:
    """Have something stand, for so long or until it is resumed, and write down who did it."""
    await leases.pause(name, seconds, reason=reason, by=by)
    outcome = "paused" if seconds is None else f"paused for {seconds:g} s"
    await leases.note(name, "pause", reason=reason, by=by, outcome=outcome)


async def resumed(leases: Leases, name: str, reason: str, by: str) -> None:
    """Have it go on, and write down who did it."""
    await leases.resume(name)
    await leases.note(name, "resume", reason=reason, by=by, outcome="resumed")


async def answered(views: ViewStore, name: str, asked: Sequence[Request], within: float) -> Sequence[Request]:
    """Wait for what the owners say to these requests, for so many seconds."""
    wanted = {one.id for one in asked}
    deadline = time.monotonic() + within
    while True:
        found = [one for one in await views.leases.requests(name, limit=1000) if one.id in wanted]
        if all(one.outcome for one in found) or time.monotonic() > deadline:
            return sorted(found)
        await asyncio.sleep(_LOOK)


def check_known(app: App, name: str) -> Definition:
    """Return the projection of this name. :raises NotFoundError: the app has none. :raises ConfigurationError:"""
    known = outline(app)
    definition = next((one for one in known.definitions if one.name == name), None)
    if definition is not None:
        return definition
    if known.problems:
        raise ConfigurationError(known.problems)
    for duty in known.duties:
        if duty.name == name:
            raise NotFoundError(f"{name} is a {duty.kind}. Type: {duty.verb} --help")
    raise no_such("projection", name, [one.name for one in known.definitions])


@asynccontextmanager
async def operating(app: App, name: str, pace: Pace | None = None) -> AsyncIterator[Operator]:
    """Open the stores of an app for one of its projections; nothing is started.

    :raises NotFoundError: it has no such projection. :raises ConfigurationError: there is no store to open.
    """
    definition = check_known(app, name)
    async with log_from_outside(app.url):  # a store that is not there is not made
        pass
    stores = open_stores(app.url, views=app.views_url)
    views = stores.events.inline if definition.mode == "inline" else stores.views
    try:
        await stores.events.open()
        await views.open([definition.tables], store_id=stores.events.store_id)
        subject = Subject(definition, stores.events, views, outline(app).codec, pace or app.tuning.pace)
        yield Operator(subject, who())
    finally:
        await stores.views.close()
        await stores.events.close()


def who() -> str:
    """Return who acts, as far as the machine can tell."""
    with suppress(Exception):
        return f"{getpass.getuser()}@{Path('/etc/hostname').read_text().strip()}"
    return "somebody"
