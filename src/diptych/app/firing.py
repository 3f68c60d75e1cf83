"""What is wrong with projections now, in sentences that end with what to type.

Rule: pure; what was measured comes in, and nothing is remembered.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from diptych.app.status import ProjectionStatus
from diptych.store.alerts import Alert, AlertKind, Firing
from diptych.store.batches import ParkedEvent
from diptych.store.leases import Board
from diptych.subscriptions.trend import Trend

HANGS: Final = 10.0
"""Seconds; a quiet loop turns twice a second."""

_LONGEST: Final = 500  # characters of somebody else's error
_OF_ONE_PROCESS: Final[tuple[AlertKind, ...]] = ("stopped", "dead", "frozen")


class Holding(NamedTuple):
    """Who works on the generation of a projection that is read: `orphans` are lanes that nobody alive owns."""

    owners: frozenset[str]
    orphans: int
    lanes: int
    is_taken: bool  # the code of somebody alive fits it


def holdings(board: Board) -> dict[str, Holding]:
    """Return who works on each projection, by name."""
    alive = {worker.id for worker in board.workers}
    found = {}
    for one in board.generations:
        if one.state == "live":
            owners = [lane.owner for lane in board.lanes if lane.generation == one.number]
            living = frozenset(alive.intersection(owners))
            is_taken = any(one.number in worker.takes for worker in board.workers)
            found[one.projection] = Holding(living, sum(each not in alive for each in owners), len(owners), is_taken)
    return found


def wrong_with(one: ProjectionStatus, limit: float, trend: Trend | None = None, *, worker: str = "") -> list[Firing]:
    """Say what is wrong with a projection as this process sees it. `worker`: what this process is to the others.

    One cause, one alert: of what stopped or hangs it is not also said that it is behind.
    """
    found, here = [], f" in worker {worker}" if worker else ""
    if one.state == "stopped":
        what = f"stopped{here} at position {one.position}: {_said(one.error)}"
        found.append(_firing(one, "stopped", what, f"Mend it, then type: diptych projection retry {one.name}"))
    if one.state == "frozen":
        what = f"is frozen{here} at position {one.position}: {_said(one.error)}"
        found.append(_firing(one, "frozen", what, f"Type: diptych projection rebuild {one.name}"))
    if one.parked:
        why = f" at position {one.position}: {_said(one.error)}" if one.state == "parked" else ""
        found.append(_parked(one.name, one.parked, why))
    patience = max(limit, HANGS)
    if one.mode == "async" and one.idle_seconds > patience and one.state != "stopped":
        what = f"hangs{here}: its loop has not turned for more than {patience:g} s, at position {one.position}"
        dead = _firing(one, "dead", what, f"Type: diptych projection show {one.name}")
        found.append(dead._replace(value=one.idle_seconds))
    elif one.state != "stopped" and one.lag_seconds > limit:
        found.append(late(one, limit, trend))
    return found


def late(one: ProjectionStatus, limit: float, trend: Trend | None = None) -> Firing:
    """Say how far behind it is, and whether it gets there."""
    wait = "event waits" if one.lag_events == 1 else "events wait"
    what = (
        f"is {one.lag_seconds:.1f} s behind (limit {limit:g} s): {one.lag_events} {wait} after position {one.position}"
    )
    if one.state == "paused":
        return _firing(one, "lag", f"{what}, and it is paused", f"Type: diptych projection resume {one.name}")
    rates = "" if trend is None else f". {trend.sentence}"
    return _firing(one, "lag", f"{what}{rates}", f"Type: diptych projection show {one.name}")


def parked_in_store(name: str, events: Sequence[ParkedEvent]) -> list[Firing]:
    """Say what every process's lanes have parked, by what is kept; `events` are all of them, by position."""
    failed = next((each for each in events if each.error), None)
    if failed is None:
        return []
    return [
        _parked(name, len({each.key for each in events}), f" since position {failed.position}: {_said(failed.error)}")
    ]


def orphaned(name: str, holding: Holding, patience: float) -> Firing:
    """Say that nobody works on it."""
    lanes = "its lane" if holding.lanes == 1 else f"{holding.orphans} of its {holding.lanes} lanes"
    why = "" if holding.is_taken else ", and no code that runs fits its rows"
    what = f"{name} is dead: no living worker has owned {lanes} for more than {patience:g} s{why}"
    return Firing(name, "dead", f"{what}. Start one, and look: diptych projection show {name}", float(holding.orphans))


def agreed(mine: Iterable[Firing], lasting: Iterable[Alert], others: Collection[str]) -> list[Firing]:
    """Leave records alone that other living workers made of themselves: only they see when it is over.

    Without that, processes that see different things would raise and resolve the same alert in turn. One cause, one
    alert here too: what such a record says of is not also said to be behind.
    """
    found = {
        (each.projection, each.kind): Firing(each.projection, each.kind, each.message, each.value)
        for each in lasting
        if each.kind in _OF_ONE_PROCESS and any(f" in worker {worker}" in each.message for worker in others)
    }
    told = {projection for projection, _ in found}
    for one in mine:
        if one.kind != "lag" or one.projection not in told:
            found.setdefault((one.projection, one.kind), one)
    return list(found.values())


def _parked(name: str, keys: int, why: str) -> Firing:
    count = "1 parked key" if keys == 1 else f"{keys} parked keys"
    return Firing(
        name, "parked", f"{name} has {count}{why}. Mend it, then type: diptych projection retry {name}", float(keys)
    )


def _firing(one: ProjectionStatus, kind: AlertKind, what: str, then: str) -> Firing:
    says_itself = "diptych projection" in what or "diptych run" in what  # an error may say what to type
    command = "" if says_itself else f" {then}"
    return Firing(one.name, kind, f"{one.name} {what}.{command}", one.lag_seconds)


def _said(error: str | None) -> str:
    """What an error said, without the full stop, for another sentence follows."""
    return (error or "for no known reason")[:_LONGEST].rstrip(". ")
