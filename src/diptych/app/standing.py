"""Where a projection stands, as somebody from outside can tell by what lies in the stores.

Rule: pure; nothing is asked of any process, and nothing is remembered.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from diptych.projections.choosing import choose, is_same_code, stopped_build
from diptych.projections.plan import Definition
from diptych.store.generations import Generation
from diptych.store.leases import LaneRow
from diptych.store.protocols import Head
from diptych.store.seen import Seen
from diptych.subscriptions.lag import Lag

State = Literal["caught up", "behind", "parked", "stopped", "paused", "frozen", "not running"]

WRONG: Final[frozenset[State]] = frozenset({"parked", "stopped", "frozen"})
"""States that somebody has to act on."""


class Standing(NamedTuple):
    """One projection. `parked` counts events, those that wait too; `workers` are living owners of its lanes.

    `error` says what is wrong, `note` what is worth knowing; both end with what to type.
    """

    name: str
    mode: str
    state: State
    position: int
    lag: Lag
    parked: int
    error: str | None
    note: str | None
    next_event: str | None
    live: Generation | None
    others: Sequence[Generation]
    lanes: Sequence[LaneRow]
    workers: int


def stand(definition: Definition, seen: Seen, head: Head, now: float) -> Standing:
    """Judge one projection; `now` is in seconds since 1970."""
    board, name = seen.board, definition.name
    generations = [one for one in board.generations if one.projection == name] if board else []
    live = next((one for one in generations if one.state == "live"), None)
    lanes = [row for row in board.lanes if live and row.generation == live.number] if board else []
    alive = {one.id for one in board.workers} if board else set()
    state, error = _state(definition, seen, generations, lanes, alive)
    lag = Lag(0, 0.0)
    if seen.next is not None:
        lag = Lag(head.position - seen.next.position + 1, max(0.0, now - seen.next.recorded_at / 1_000_000))
    return Standing(
        name=name,
        mode=definition.mode,
        state=state,
        position=head.position if seen.next is None else seen.next.position - 1,
        lag=lag,
        parked=len(seen.parked),
        error=error,
        note=_note(definition, live),
        next_event=None if seen.next is None else f"{seen.next.type} of {seen.next.stream}",
        live=live,
        others=[one for one in generations if one is not live],
        lanes=lanes,
        workers=len({row.owner for row in lanes} & alive),
    )


def _state(
    definition: Definition, seen: Seen, generations: Sequence[Generation], lanes: Sequence[LaneRow], alive: set[str]
) -> tuple[State, str | None]:
    board, name = seen.board, definition.name
    pause = board.paused.get(name) if board else None
    if pause is not None:
        return "paused", f"{pause.reason or 'no reason was given'}. Go on with: diptych projection resume {name}"
    choice = choose(definition.tables, generations, "freeze")
    taken = {number for worker in board.workers for number in worker.takes} if board else set[int]()
    if choice.live is not None and not choice.is_fitting and choice.live.number not in taken:
        built = {one.number for one in generations if one.state == "building" and one.fits(definition.tables)}
        rows = board.lanes if board else ()
        stuck = next((row.trouble for row in rows if row.generation in built and row.trouble), None)
        return "frozen", choice.why if stuck is None else stopped_build(name, choice.live, stuck)
    trouble = next((row.trouble for row in lanes if row.trouble), None)
    if trouble is not None:
        return "stopped", _and_then(trouble, name)
    failing = next((one for one in seen.parked if one.error), None)
    if failing is not None:
        return "parked", _and_then(f"position {failing.position}: {failing.error}", name)
    if seen.next is None:
        return "caught up", None
    if definition.mode == "async" and not any(row.owner in alive for row in lanes):
        return "not running", "No living process works on it. Start the service: diptych run"
    return "behind", None


def _and_then(error: str, name: str) -> str:
    """Say what to type, in a sentence after the one of somebody else's error."""
    return f"{error.rstrip('. ')}. Once it is mended: diptych projection retry {name}"


def _note(definition: Definition, live: Generation | None) -> str | None:
    if live is None or not live.fits(definition.tables) or is_same_code(live.code, definition.tables.code):
        return None
    name = definition.name
    return (
        f"Its code changed since generation {live.number} was built. Rebuild it: diptych projection rebuild {name}; "
        f"or, if the rows come out the same: diptych projection accept {name} --reason WHY"
    )
