"""Is it alive, and may it be sent requests: asked by load balancers, and by people in a hurry.

Rule: nothing here is remembered from one call to the next.
"""

from dataclasses import asdict

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from diptych.app.application import App
from diptych.app.status import ProjectionStatus
from diptych.errors import DiptychError
from diptych.web.problems import Kind, problem
from diptych.web.settings import WebSettings

_NOT_READY = Kind(503, "not-ready", "Not ready", retry_after=5)
_LONGEST = 500
_HANGS = 10.0  # seconds; a quiet loop turns twice a second


def add_health(app: App, api: FastAPI, settings: WebSettings) -> None:
    """Add `/health/live` (the event loop turns) and `/health/ready` (every projection is near the log's end)."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "alive"}, headers={"Cache-Control": "no-store"})

    async def ready(_: Request) -> Response:
        return await _ready(app, settings)

    for name, endpoint in (("live", live), ("ready", ready)):
        api.router.add_route(f"{settings.health_path}/{name}", endpoint, include_in_schema=False)


async def _ready(app: App, settings: WebSettings) -> Response:
    """Look at the store and every projection now. All that is wrong is named, events among it."""
    headers = {"Cache-Control": "no-store"}
    if not app.is_running:
        return problem(_NOT_READY, "The app is not running.", headers)
    try:
        status = await app.status()
    except DiptychError as error:
        return problem(_NOT_READY, f"The store cannot be read: {error}"[:_LONGEST], headers)
    reasons = [reason for one in status.projections if (reason := _reason(one, settings.lag_limit))]
    projections = [_shown(one) for one in status.projections]
    if reasons:
        return problem(_NOT_READY, " ".join(reasons), headers, reasons=reasons, projections=projections)
    return JSONResponse({"status": "ready", "head": status.head, "projections": projections}, headers=headers)


def _reason(one: ProjectionStatus, limit: float) -> str | None:
    if one.state in ("stopped", "parked", "frozen") or one.parked:
        return f"{one.name} is {one.state} at position {one.position}: {one.error}"[:_LONGEST]
    if one.lag_seconds > limit:
        return (
            f"{one.name} is {one.lag_seconds:.1f} s behind (limit {limit:g} s): "
            f"{one.lag_events} events after position {one.position}."
        )
    if one.mode == "async" and one.idle_seconds > max(limit, _HANGS):
        return f"{one.name} hangs: its loop has not turned for {one.idle_seconds:.0f} s at position {one.position}."
    return None


def _shown(one: ProjectionStatus) -> dict[str, object]:
    shown = asdict(one)
    del shown["tables"], shown["error"], shown["lanes"], shown["note"]
    return shown
