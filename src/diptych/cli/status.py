"""`diptych status`: how far each projection is, read from the stores of a running or stopped service.

Rule: nothing is started and nothing is written.
"""

import time
from typing import Any

from diptych.app.application import App
from diptych.cli.output import age, show, talk
from diptych.projections.definition import define_all
from diptych.projections.plan import Definition
from diptych.store.opening import look_at
from diptych.store.seen import Look, Seen, Watched

COLUMNS = ("projection", "mode", "state", "position", "lag_events", "lag_seconds", "parked", "error")


def report(app: App, *, limit: float | None, as_json: bool) -> int:
    """Write one line per projection; return 1 when one is parked or lags longer than `limit` seconds, or
    when nobody can append; else 0.

    :raises ConfigurationError: the app keeps nothing on disk. :raises StoreError: its stores cannot be read.
    """
    modes = {cls: mode for module in app.everything() for cls, mode in module.projected.items()}
    seen, rows = _measure(app, define_all(modes.items()))
    if not as_json:
        talk(f"{seen.place}: {seen.head.position} events")
    show(COLUMNS, rows, as_json=as_json)
    problems = [] if seen.trouble is None else [seen.trouble]
    problems += [problem for row in rows if (problem := _problem(row, limit)) is not None]
    for problem in problems:
        talk(problem)
    return 1 if problems else 0


def _measure(app: App, definitions: tuple[Definition, ...]) -> tuple[Look, list[dict[str, Any]]]:
    def row(definition: Definition, seen: Seen, now: float) -> dict[str, Any]:
        failing = next((one for one in seen.parked if one.error), None)
        state = "parked" if seen.parked else "behind" if seen.next else "caught up"
        return {
            "projection": definition.name,
            "mode": definition.mode,
            "state": state,
            "position": head.position if seen.next is None else seen.next.position - 1,
            "lag_events": 0 if seen.next is None else head.position - seen.next.position + 1,
            "lag_seconds": 0.0 if seen.next is None else max(0.0, now - seen.next.recorded_at / 1_000_000),
            "parked": len(seen.parked),
            "error": None if failing is None else f"position {failing.position}: {failing.error}",
            "next_event": None if seen.next is None else f"{seen.next.type} of {seen.next.stream}",
        }

    watched = [Watched(one.name, one.mode == "inline", one.takes) for one in definitions]
    look = look_at(app.url, watched, views=app.views_url)
    head = look.head
    return look, [row(one, seen, time.time()) for one, seen in zip(definitions, look.projections, strict=True)]


def _problem(row: dict[str, Any], limit: float | None) -> str | None:
    """Say what is wrong with a projection, and on which event; None when nothing is."""
    if row["parked"]:
        return f"{row['projection']} has {row['parked']} parked events, the first of them at {row['error']}"
    if limit is None or row["lag_seconds"] <= limit:
        return None
    event = f"position {row['position'] + 1}, {row['next_event']}"
    return f"{row['projection']} is {age(row['lag_seconds'])} behind (limit {age(limit)}); its next event is {event}"
