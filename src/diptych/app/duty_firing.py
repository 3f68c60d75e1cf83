"""What is wrong with sagas and reactions now, in sentences that end with what to type.

Rule: pure; what was measured comes in, and nothing is remembered.
"""

from collections.abc import Collection
from typing import Final

from diptych.app.duty_status import DutyStatus
from diptych.store.alerts import AlertKind, Firing

_RED: Final[dict[str, AlertKind]] = {"stopped": "stopped", "parked": "parked"}


def wrong_with_duty(one: DutyStatus, limit: float, open_: Collection[AlertKind] = ()) -> list[Firing]:
    """Say what is wrong with a saga, reaction, publication or inbox; `open_` are alerts of it that last.

    One cause, one alert: of what is parked or stopped it is not also said that it is behind. Who measures a little less
    does not resolve that it is.
    """
    problem, kind = one.problem, _RED.get(one.state)
    if kind is not None and problem is not None:
        return [Firing(one.name, kind, problem, one.lag_seconds if kind == "stopped" else float(one.parked))]
    late = max(one.lag_seconds, one.late_seconds, one.undone_seconds)
    is_late = late > limit or ("lag" in open_ and late > limit / 2)
    if one.state == "away" and problem is not None and (is_late or one.kind == "inbox"):
        return [Firing(one.name, "lag", problem, late)]
    if not is_late:
        return []
    what = "it is behind" if late == one.lag_seconds else "its oldest timer is due"
    what = "its oldest task is due" if late == one.undone_seconds else what
    why = ", and no living process works on it" if one.state == "not running" else ""
    why += f": {one.error}" if one.error and late == one.undone_seconds else ""
    verb = "saga" if one.kind == "saga" else "reaction"
    sentence = f"{one.name}: {what} for {late:.1f} s (limit {limit:g} s){why}. Type: diptych {verb} list"
    return [Firing(one.name, "lag", sentence, late)]


def makes_unready(one: DutyStatus) -> bool:
    """Whether requests are better sent elsewhere: a broker that is away, or work that is late, is no reason (D3)."""
    return one.state in _RED
