"""What sagas, reactions, publications and inboxes owe whose name no code has any more: renamed, or not registered.

Rule: it looks, and changes nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from diptych.app.application import App
from diptych.app.outline import Outline
from diptych.sagas.row import OVER, saga_table
from diptych.store.batches import ProjectionTables
from diptych.store.generations import Generation
from diptych.store.opening import generations_beside, open_stores
from diptych.store.protocols import EventStore
from diptych.subscriptions.duty import kept_by
from diptych.subscriptions.tasks import PARKED, TIMER, tasks_table

_OWED: Final = (
    "SELECT kind, state, count(*) FROM {table} WHERE lane >= 0 AND state IN ('waiting', 'taken', 'parked') "
    "GROUP BY kind, state"
)
_SAGAS: Final = "SELECT status, count(*) FROM {table} GROUP BY status"


class LeftBehind(NamedTuple):
    """What is owed under a name. `sagas` are those that are not over, `tasks` what waits to be done."""

    name: str
    sagas: int
    timers: int
    tasks: int
    parked: int

    @property
    def owes(self) -> bool:
        """Whether anything of it is still to be done."""
        return any(self[1:])

    def __str__(self) -> str:
        counts = [
            (self.sagas, "saga under way", "sagas under way"),
            (self.timers, "timer", "timers"),
            (self.tasks, "task", "tasks"),
            (self.parked, "parked", "parked"),
        ]
        said = ", ".join(f"{count:,} {one if count == 1 else more}" for count, one, more in counts if count)
        return f"{self.name} ({said})" if said else self.name


async def left_behind(app: App, known: Outline) -> Sequence[LeftBehind]:
    """Count what is owed under names that neither this app nor a living worker has. :raises DiptychError:"""
    names = {*(one.name for one in known.duties), *(one.name for one in known.definitions)}
    live = [one for one in await generations_beside(app.url) if one.state == "live" and one.projection not in names]
    gone = [(one, kept) for one in live for kept in _shapes(one.projection) if one.fits(kept)]
    if not gone:
        return []
    stores = open_stores(app.url)
    try:
        await stores.events.open()
        await stores.events.inline.open([kept for _, kept in gone], store_id=stores.events.store_id)
        alive = (await stores.events.inline.leases.board()).workers
        taken = {number for worker in alive for number in worker.takes}  # another version of the code may be running
        return [await _counted(stores.events, *one) for one in gone if one[0].number not in taken]
    finally:
        await stores.views.close()
        await stores.events.close()


def _shapes(name: str) -> Iterator[ProjectionTables]:
    """What one of this name keeps: a saga, a reaction or publication, an inbox."""
    with suppress(ValueError):  # no table could have this name, so it is a projection's
        tasks = tasks_table(name)
        yield kept_by(name, saga_table(name), tasks)
        yield kept_by(name, tasks)
        yield kept_by(name, tasks, lanes=1)


async def _counted(store: EventStore, of: Generation, kept: ProjectionTables) -> LeftBehind:
    async with store.inline.reader() as session:
        owed = await session.fetch(_OWED.format(table=kept.tables[-1].name), {})
        sagas = [] if len(kept.tables) == 1 else await session.fetch(_SAGAS.format(table=kept.tables[0].name), {})
    timers = sum(count for kind, state, count in owed if kind == TIMER and state != PARKED)
    parked = sum(count for _, state, count in owed if state == PARKED)
    open_ = sum(count for status, count in sagas if status not in OVER)
    return LeftBehind(of.projection, open_, timers, sum(row[2] for row in owed) - timers - parked, parked)
