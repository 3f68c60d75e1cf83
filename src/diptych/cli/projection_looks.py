"""`diptych projection list` and `show`.

Rule: nothing is started and nothing is written.
"""

import asyncio
from typing import Any, Final

from diptych.app.application import App
from diptych.app.operating import operating
from diptych.app.standing import WRONG, Standing
from diptych.cli.discovery import find
from diptych.cli.looking import time
from diptych.cli.output import age, show, talk
from diptych.cli.status import row_of, standings
from diptych.errors import NotFoundError
from diptych.store.alerts import Alert
from diptych.store.batches import ParkedEvent
from diptych.store.generations import Generation
from diptych.store.leases import Request

_LIST: Final = ("projection", "state", "generation", "lag_events", "lag_seconds", "lanes", "workers", "parked", "error")
_MOST: Final = 20
_NOTHING: Final = "Nothing is parked here."


def list_all(said: str | None, *, as_json: bool) -> int:
    """Write a line for each projection; return 1 when one needs somebody."""
    _, found = standings(find(said).app)
    show(_LIST, [{**row_of(one), "lanes": len(one.lanes)} for one in found], as_json=as_json)
    for one in found:
        if one.note:
            talk(f"{one.name}: {one.note}")
    return 1 if any(one.state in WRONG for one in found) else 0


def show_one(said: str | None, name: str, *, as_json: bool) -> int:
    """Tell all of one projection; return 1 when it needs somebody. :raises NotFoundError: there is none such."""
    app = find(said).app
    look, found = standings(app, name)
    if not found:
        raise NotFoundError(f"There is no projection {name}. List them: diptych projection list")
    (one,) = found
    parked, requests, alerts = asyncio.run(_kept(app, name)) if one.live else ([], [], [])
    if as_json:
        lanes = [row._asdict() | {"checkpoint": row.checkpoint.position} for row in one.lanes]
        generations = [_generation(each) for each in _generations(one)]
        rest = {"lanes": lanes, "generations": generations, "parked": parked, "requests": requests, "alerts": alerts}
        show((), [{**row_of(one), "head": look.head.position, "note": one.note, **rest}], as_json=True)
        return 1 if one.state in WRONG else 0
    _tell(one, look.head.position)
    _sections(one, parked, requests, alerts)
    return 1 if one.state in WRONG else 0


def _tell(one: Standing, head: int) -> None:
    live = "no generation yet" if one.live is None else f"generation {one.live.number}, version {one.live.version}"
    talk(f"{one.name}: {one.state}, {one.mode}, {live}")
    talk(f"position {one.position} of {head}; {one.lag.events} events, {age(one.lag.seconds)} behind")
    for sentence in (one.error, one.note):
        if sentence:
            talk(sentence)


def _sections(
    one: Standing, parked: list[dict[str, Any]], requests: list[dict[str, Any]], alerts: list[dict[str, Any]]
) -> None:
    lanes = [
        {
            "lane": row.lane,
            "position": row.checkpoint.position,
            "epoch": row.epoch,
            "owner": row.owner,
            "trouble": row.trouble,
        }
        for row in one.lanes
    ]
    talk("\nlanes")
    show(("lane", "position", "epoch", "owner", "trouble"), lanes, as_json=False)
    talk("\ngenerations")
    columns = ("generation", "state", "version", "lanes", "since", "is_indexed")
    show(columns, [_generation(each) for each in _generations(one)], as_json=False)
    if parked:
        talk("\nparked")
        show(("key", "position", "events", "error"), parked[:_MOST], as_json=False)
        if len(parked) > _MOST:
            talk(f"and {len(parked) - _MOST} keys more: --json lists them all")
    if alerts:
        talk("\nalerts, newest first")
        show(("kind", "raised", "resolved", "message"), alerts[:_MOST], as_json=False)
    requests = [one for one in requests if one["outcome"] != _NOTHING]  # of a retry, most of the lanes say so
    if requests:
        talk("\nasked and done, newest first")
        show(("verb", "key", "position", "by", "at", "reason", "outcome"), requests[:_MOST], as_json=False)


async def _kept(app: App, name: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    async with operating(app, name) as operator:
        parked = await operator.views.parked(name)
        requests = await operator.views.leases.requests(name)
        alerts = await operator.views.alerts.recent(name)
    return _keys(parked), [_request(one) for one in requests], [_alert(one) for one in alerts]


def _keys(parked: Any) -> list[dict[str, Any]]:
    """One row for each parked key: the event that failed, and how many wait with it."""
    found: dict[str, list[ParkedEvent]] = {}
    for event in parked:
        found.setdefault(event.key, []).append(event)
    return [
        {"key": key, "position": events[0].position, "events": len(events), "error": events[0].error}
        for key, events in found.items()
    ]


def _alert(one: Alert) -> dict[str, Any]:
    resolved = "not yet" if one.resolved_at is None else time(one.resolved_at)
    return {"kind": one.kind, "raised": time(one.raised_at), "resolved": resolved, "message": one.message}


def _request(one: Request) -> dict[str, Any]:
    return {
        "verb": one.verb,
        "key": one.key,
        "position": one.position or None,
        "by": one.asked_by,
        "at": time(one.asked_at),
        "reason": one.reason,
        "outcome": one.outcome or "not done yet",
    }


def _generations(one: Standing) -> list[Generation]:
    return sorted([*([] if one.live is None else [one.live]), *one.others], key=lambda each: each.number)


def _generation(one: Generation) -> dict[str, Any]:
    return {
        "generation": one.number,
        "state": one.state,
        "version": one.version,
        "lanes": one.lanes,
        "since": time(one.since),
        "is_indexed": one.is_indexed,
    }
