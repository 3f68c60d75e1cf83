"""`diptych status`: how far each projection, saga and reaction is, as the stores tell.

Rule: nothing is started and nothing is written.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from diptych.app.application import App
from diptych.app.duty_operating import duties_from_outside
from diptych.app.duty_status import DutyStatus
from diptych.app.known_duties import REACTIONS
from diptych.app.standing import WRONG, Standing, stand
from diptych.cli.output import age, show, talk
from diptych.projections.definition import define_all
from diptych.store.opening import look_at
from diptych.store.seen import Look, Watched

COLUMNS: Final = ("projection", "mode", "state", "position", "lag_events", "lag_seconds", "parked", "error")
_OF_DUTY: Final = (
    "state", "position", "lag_events", "lag_seconds", "parked", "error",
    "waiting", "retried", "timers", "stuck", "workers",
)  # fmt: skip
_EVERY: Final = 2.0  # seconds, with --watch


def report(app: App, *, limit: float | None, as_json: bool) -> int:
    """Write one line per projection; return 1 when one needs somebody or lags longer than `limit` seconds, or
    when nobody can append; else 0.

    :raises ConfigurationError: the app keeps nothing on disk. :raises StoreError: its stores cannot be read.
    """
    look, found = standings(app)
    duties = asyncio.run(_duties(app))
    if not as_json:
        talk(f"{look.place}: {look.head.position} events")
    show(COLUMNS, [*map(row_of, found), *map(_row_of_duty, duties)], as_json=as_json)
    problems = [] if look.trouble is None else [look.trouble]
    problems += [problem for one in found if (problem := _problem(one, limit)) is not None]
    problems += [problem for duty in duties if (problem := _problem_of_duty(duty, limit)) is not None]
    for sentence in [*problems, *(f"{one.name}: {one.note}" for one in found if one.note)]:
        talk(sentence)
    return 1 if problems else 0


def look_on(app: App, *, limit: float | None, as_json: bool) -> None:
    """Write it again every two seconds until interrupted; a terminal is cleared first."""
    while True:
        if sys.stdout.isatty():
            print("\x1b[2J\x1b[H", end="")
        report(app, limit=limit, as_json=as_json)
        sys.stdout.flush()
        time.sleep(_EVERY)


async def _duties(app: App) -> Sequence[DutyStatus]:
    if not any((one.sagas, one.reactions, one.published, one.inboxes) != ([], [], [], []) for one in app.everything()):
        return []
    async with duties_from_outside(app) as operator:
        return await operator.statuses(("saga", *REACTIONS))


def standings(app: App, name: str | None = None) -> tuple[Look, Sequence[Standing]]:
    """Look at the stores of an app, for one of its projections or for all. Raises as `report` does."""
    modes = {cls: mode for module in app.everything() for cls, mode in module.projected.items()}
    definitions = [one for one in define_all(modes.items()) if name in (None, one.name)]
    watched = [Watched(one.name, one.mode == "inline", one.takes) for one in definitions]
    look = look_at(app.url, watched, views=app.views_url)
    pairs = zip(definitions, look.projections, strict=True)
    return look, [stand(definition, seen, look.head, time.time()) for definition, seen in pairs]


def row_of(one: Standing) -> dict[str, Any]:
    """Return the line of a projection."""
    return {
        "projection": one.name,
        "mode": one.mode,
        "state": one.state,
        "position": one.position,
        "lag_events": one.lag.events,
        "lag_seconds": one.lag.seconds,
        "parked": one.parked,
        "error": one.error,
        "next_event": one.next_event,
        "generation": None if one.live is None else one.live.number,
        "workers": one.workers,
    }


def _problem(one: Standing, limit: float | None) -> str | None:
    """Say what is wrong with a projection, and on which event; None when nothing is."""
    if one.state in WRONG:
        parked = f" ({one.parked} {'event waits' if one.parked == 1 else 'events wait'})" if one.parked else ""
        return f"{one.name} is {one.state}{parked}: {one.error}"
    if limit is None or one.lag.seconds <= limit:
        return None
    event = f"position {one.position + 1}, {one.next_event}"
    return f"{one.name} is {age(one.lag.seconds)} behind (limit {age(limit)}); its next event is {event}"


def _row_of_duty(one: DutyStatus) -> dict[str, Any]:
    """Return the line of a saga or a reaction, in the columns of projections."""
    return {"projection": one.name, "mode": one.kind, **{name: getattr(one, name) for name in _OF_DUTY}}


def _problem_of_duty(one: DutyStatus, limit: float | None) -> str | None:
    if one.problem is not None or limit is None or one.lag_seconds <= limit:
        return one.problem
    return f"{one.name} is {age(one.lag_seconds)} behind (limit {age(limit)}); its next event is at {one.position + 1}"
