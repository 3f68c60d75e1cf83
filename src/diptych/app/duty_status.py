"""How far sagas, reactions, publications and inboxes are, and what of them needs somebody.

Rule: it looks at the store now; what this process remembers counts only for the lanes that it has.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from diptych.app.known_duties import KnownDuty
from diptych.events.codec import Codec
from diptych.events.recorded import StoredEvent
from diptych.sagas.row import STUCK
from diptych.store.leases import Board, LaneRow
from diptych.store.protocols import EventStore, Head
from diptych.subscriptions.lag import Lag
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.shelf import one_task
from diptych.subscriptions.tasks import start_of, undone

WRONG: Final = frozenset({"parked", "stopped", "away"})
"""States that somebody has to act on."""

_PAGE: Final = 200
_FAR: Final = 2000  # events that are looked through for one that is owed
_OPEN: Final = (
    "SELECT kind, count(*), sum(CASE WHEN attempts > 0 THEN 1 ELSE 0 END), min(due_at) FROM {table} "
    "WHERE lane IN ({lanes}) AND state IN ('waiting', 'taken') GROUP BY kind"
)
_PARKED: Final = (
    "SELECT key, name, error FROM {table} WHERE lane IN ({lanes}) AND state = 'parked' AND error <> '' "
    "ORDER BY number, changed_at LIMIT 1"
)
_UNDONE: Final = (
    "SELECT CASE WHEN due_at > changed_at THEN due_at ELSE changed_at END AS since, name, key, error FROM {table} "
    "WHERE lane IN ({lanes}) AND state = 'waiting' AND kind <> 'timer' AND due_at <= :now ORDER BY since LIMIT 1"
)
_SLOW: Final = 5.0  # seconds; what is not done for longer is said to be behind
_KEYS: Final = "SELECT count(DISTINCT key) FROM {table} WHERE lane IN ({lanes}) AND state = 'parked'"
_STUCK: Final = "SELECT count(*) FROM {table} WHERE status = :status"


@dataclass(frozen=True, slots=True)
class DutyStatus:
    """A saga, reaction, publication or inbox. `lag_seconds`: age of the oldest event of its own not taken in.

    `state` is not begun, caught up, behind, not running, paused, parked, stopped, or away (of its broker). `waiting`
    are tasks to do, `retried` those of them that failed before, `undone_seconds` how long the oldest of them is due and
    not done (it hangs, or fails), `timers` those to come, `late_seconds` how long the oldest of them is due, `parked`
    keys, `stuck` sagas. What is up to `began` in the log was there before it, and none of its business.
    """

    name: str
    kind: str
    state: str
    position: int = 0
    lag_events: int = 0
    lag_seconds: float = 0.0
    waiting: int = 0
    retried: int = 0
    timers: int = 0
    late_seconds: float = 0.0
    parked: int = 0
    stuck: int = 0
    lanes: int = 0
    workers: int = 0
    error: str | None = None
    undone_seconds: float = 0.0
    began: int = 0

    @property
    def problem(self) -> str | None:
        """A sentence that ends with what to type, if it needs somebody."""
        if self.state not in WRONG:
            return None
        verb = "saga" if self.kind == "saga" else "reaction"
        why = (self.error or "for no known reason").rstrip(". ")
        if self.state == "away":
            return (
                f"{self.name} waits for its broker: {why}. It goes on by itself; look: diptych {verb} show {self.name}"
            )
        keys = f" ({self.parked} {'key' if self.parked == 1 else 'keys'})" if self.parked else ""
        then = f"Once it is mended: diptych {verb} retry {self.name}"
        if self.kind == "publication":  # it has nothing put aside
            then = f"Once it is mended it goes on by itself, within a minute; look: diptych {verb} show {self.name}"
        return f"{self.name} is {self.state}{keys}: {why}. {then}"


class Here(NamedTuple):
    """What this process knows of a duty by itself: how far the lanes are that it has, and what is wrong with it."""

    positions: Mapping[int, int]
    error: str | None = None


class Looker(NamedTuple):
    """Looks at the duties of an open store. `now` is microseconds since 1970, by the clock that timers are held to."""

    store: EventStore
    codec: Codec
    now: int

    async def all(self, duties: Sequence[KnownDuty], here: Mapping[str, Here]) -> tuple[DutyStatus, ...]:
        """Measure all of them. :raises StoreError: it cannot be read."""
        if not duties:
            return ()
        board, head = await self.store.inline.leases.board(), await self.store.head()
        return tuple([await self._one(one, board, head, here.get(one.name)) for one in duties])

    async def _one(self, duty: KnownDuty, board: Board, head: Head, here: Here | None) -> DutyStatus:
        live = [one for one in board.generations if one.projection == duty.name and one.state == "live"]
        start = await one_task(self.store, duty.tasks, live[0].number, start_of(duty.name)) if live else None
        if start is None:
            return DutyStatus(duty.name, duty.kind, "not begun")
        lanes = [row for row in board.lanes if row.projection == duty.name and row.generation == live[0].number]
        mine = here.positions if here else {}
        at = {row.lane: max(start.number, mine.get(row.lane, row.checkpoint.position)) for row in lanes}
        lag, position = await self._lag(duty, at, head)
        rows = await self._rows(duty)
        alive = {one.id for one in board.workers}
        workers = len({row.owner for row in lanes} & alive)
        state, error = _state(duty, board, lanes, rows, here)
        undone = max(0.0, (self.now - rows.since) / 1_000_000) if rows.since else 0.0
        if state == "caught up" and (lag.events or rows.late or undone > _SLOW):
            state, error = "behind" if workers else "not running", rows.undone if undone > _SLOW else None
        return DutyStatus(
            duty.name, duty.kind, state, position, *lag, rows.waiting, rows.retried, rows.timers,
            max(0.0, (self.now - rows.due) / 1_000_000) if rows.due else 0.0, rows.parked, rows.stuck, len(lanes),
            workers, error, undone, start.number,
        )  # fmt: skip

    async def _lag(self, duty: KnownDuty, at: Mapping[int, int], head: Head) -> tuple[Lag, int]:
        """Return how far behind it is: from the first event on that a lane takes, and has not.

        A lane that has nothing to write says where it is every few seconds; what is behind it in other lanes is theirs.
        """
        after = min(at.values(), default=head.position)
        if not duty.events:
            return Lag(0, 0.0), head.position
        types, looked = self.codec.names(duty.events), 0
        while after < head.position:
            page = await self.store.read_log(after=after, types=types, limit=_PAGE)
            looked += len(page.events)
            for row in page.events:
                if self._is_owed(duty, at, row) or (looked >= _FAR and row is page.events[-1]):
                    seconds = max(0.0, time.time() - row.recorded_at / 1_000_000)
                    return Lag(head.position - row.position + 1, seconds), row.position - 1
            if page.scanned <= after:
                break
            after = page.scanned
        return Lag(0, 0.0), head.position

    def _is_owed(self, duty: KnownDuty, at: Mapping[int, int], row: StoredEvent) -> bool:
        try:
            key = duty.key_of(self.codec.recorded(row))
        except (Exception, SystemExit):  # what cannot be read stops the lane that has it
            return row.position > min(at.values())
        return key is not None and row.position > at.get(lane_of(key, duty.kept.lanes), 0)

    async def _rows(self, duty: KnownDuty) -> "_Rows":
        values = {"lanes": ", ".join(map(str, range(duty.kept.lanes))), "table": duty.tasks.name}
        async with self.store.inline.reader() as session:
            kinds = await session.fetch(_OPEN.format(**values), {})
            ((parked,),) = await session.fetch(_KEYS.format(**values), {})
            failed = await session.fetch(_PARKED.format(**values), {}) if parked else []
            oldest = await session.fetch(_UNDONE.format(**values), {"now": self.now})
            stuck = 0
            if duty.sagas is not None:
                ((stuck,),) = await session.fetch(_STUCK.format(table=duty.sagas.name), {"status": STUCK})
        work = [row for row in kinds if row[0] != "timer"]
        timers = next((row for row in kinds if row[0] == "timer"), None)
        due = 0 if timers is None else int(timers[3])
        found = _Rows(sum(int(row[1]) for row in work), sum(int(row[2]) for row in work), parked=parked, stuck=stuck)
        why = "{}, {}: {}".format(*failed[0]) if failed else ""
        found = found._replace(timers=int(timers[1]) if timers else 0, due=due, late=0 < due < self.now, why=why)
        for since, name, key, error in oldest:
            found = found._replace(since=int(since), undone=undone(name, key, error))
        return found


class _Rows(NamedTuple):
    """What lies in the tables of a duty."""

    waiting: int
    retried: int
    timers: int = 0
    due: int = 0
    late: bool = False
    parked: int = 0
    stuck: int = 0
    why: str = ""
    since: int = 0
    undone: str = ""


def _state(
    duty: KnownDuty, board: Board, lanes: Sequence[LaneRow], rows: _Rows, here: Here | None
) -> tuple[str, str | None]:
    pause = board.paused.get(duty.name)
    if pause is not None:
        return "paused", f"{pause.reason or 'no reason was given'}. Go on with: {duty.verb} resume {duty.name}"
    trouble: Any = next((row.trouble for row in lanes if row.trouble), None)
    if trouble:
        return "stopped", trouble
    if rows.parked:
        return "parked", rows.why or None
    if here is not None and here.error is not None and duty.kind in ("publication", "inbox"):
        return "away", here.error
    return "caught up", None
