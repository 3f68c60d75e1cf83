"""What an operator asks first: how far everything is, and what is wrong.

Rule: it looks at the stores now; what this process remembers counts only for the lanes that it has.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from diptych.app.duty_status import DutyStatus, Here, Looker
from diptych.app.known_duties import KnownDuty
from diptych.errors import StoreError
from diptych.events.recorded import to_microseconds
from diptych.projections.choosing import is_same_code
from diptych.projections.engine import ProjectionEngine
from diptych.projections.following import Following
from diptych.store.leases import Board
from diptych.store.protocols import EventStore, Head, ViewStore
from diptych.subscriptions.duties import DutyEngine
from diptych.subscriptions.lag import lag_of


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One lane of the generation that is read: who works on it (empty: nobody), and why it stands, if it does."""

    lane: int
    position: int
    owner: str
    trouble: str


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """One projection. `lag_seconds`: age of the oldest event not applied; `idle_seconds`: since its loop here turned.

    `state` is starting, running, parked, stopped, paused or frozen (its rows were made by other code, and nobody alive
    works on them). `parked` counts keys. `note` is worth knowing, and nothing is wrong because of it.
    """

    name: str
    mode: str
    state: str
    position: int
    lag_events: int
    lag_seconds: float
    parked: int
    error: str | None
    idle_seconds: float
    tables: tuple[str, ...]
    generation: int = 0
    lanes: tuple[LaneStatus, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The log's end, every projection, saga and reaction, measured against the stores now and not from memory."""

    head: int
    projections: tuple[ProjectionStatus, ...]
    duties: tuple[DutyStatus, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each projection, saga and reaction that is stopped or frozen, or has parked keys."""
        return (
            *(
                f"{one.name} is {one.state} at position {one.position}: {one.error}"
                for one in self.projections
                if one.state in ("stopped", "parked", "frozen")
            ),
            *(one.problem for one in self.duties if one.problem is not None),
        )


async def measure(
    events: EventStore, engine: ProjectionEngine, duties: DutyEngine | None = None, known: Sequence[KnownDuty] = ()
) -> Status:
    """Compare all that follows the log with its end as it is now. :raises StoreError: it cannot be read."""
    head = await events.head()
    with suppress(StoreError):  # of a view store that is away, what was known last is said
        await engine.look()
    boards = {mode: await _board(views) for mode, views in engine.views.items()}
    followings = [engine.followings[name] for name in sorted(engine.followings)]
    found = [await _one(events, head, one, boards[one.definition.mode]) for one in followings]
    if duties is None:
        return Status(head.position, tuple(found))
    looker = Looker(events, engine.reader.codec, to_microseconds(duties.clock.now()))
    return Status(head.position, tuple(found), await looker.all(known, known_here(duties)))


def known_here(duties: DutyEngine) -> dict[str, Here]:
    """Say what this process knows of the lanes that it has."""
    found = {}
    for keeper in duties.keepers:
        errors = [keeper.error, *(work.error for work in keeper.works.values())]
        positions = {lane: work.position for lane, work in keeper.works.items()}
        found[keeper.duty.name] = Here(positions, next((one for one in errors if one), None))
    return found


async def _board(views: ViewStore) -> Board | None:
    try:
        return await views.leases.board()
    except StoreError:
        return None


async def _one(events: EventStore, head: Head, following: Following, board: Board | None) -> ProjectionStatus:
    progress, lanes = following.progress, _lanes(board, following.progress.generation)
    kept = min((lane.position for lane in lanes), default=0)  # between two owners nobody knows more than this
    position = max(progress.position, kept)  # it moves while the log is read
    lag = await lag_of(events, position, head=head)
    keys = await following.parked_keys()
    is_parked = progress.state == "running" and bool(keys)
    return ProjectionStatus(
        name=progress.name,
        mode=progress.mode,
        state="parked" if is_parked else progress.state,
        position=position,
        lag_events=lag.events,
        lag_seconds=lag.seconds,
        parked=len(keys),
        error=progress.error or next((error for error in keys.values() if is_parked), None),
        idle_seconds=time.monotonic() - progress.heartbeat if following.has_lanes else 0.0,
        tables=progress.tables,
        generation=progress.generation,
        lanes=lanes,
        note=_note(following),
    )


def _lanes(board: Board | None, generation: int) -> tuple[LaneStatus, ...]:
    rows = () if board is None else board.lanes
    return tuple(
        LaneStatus(row.lane, row.checkpoint.position, row.owner, row.trouble)
        for row in rows
        if row.generation == generation
    )


def _note(following: Following) -> str | None:
    choice, tables = following.choice, following.definition.tables
    if choice.live is None or not choice.is_fitting or is_same_code(choice.live.code, tables.code):
        return None
    return (
        f"The code of {tables.name} changed since generation {choice.live.number} was built. Type `diptych projection "
        f"rebuild {tables.name}`, or `diptych projection accept {tables.name}` if the rows come out the same."
    )
