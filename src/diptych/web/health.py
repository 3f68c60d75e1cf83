"""Is it alive, and may it be sent requests: asked by load balancers, and by people in a hurry.

Rule: nothing here is remembered from one call to the next.
"""

from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from diptych.app.application import App
from diptych.app.duty_firing import makes_unready
from diptych.app.duty_status import DutyStatus
from diptych.app.firing import wrong_with
from diptych.app.status import ProjectionStatus
from diptych.errors import DiptychError
from diptych.store.alerts import Firing
from diptych.web.problems import Kind, problem
from diptych.web.settings import WebSettings

_NOT_READY = Kind(503, "not-ready", "Not ready", retry_after=5)
_LONGEST = 500


def add_health(app: App, api: FastAPI, settings: WebSettings) -> None:
    """Add `/health/live` (the event loop turns) and `/health/ready` (every projection is within its limit)."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "alive"}, headers={"Cache-Control": "no-store"})

    async def ready(_: Request) -> Response:
        return await _ready(app)

    for name, endpoint in (("live", live), ("ready", ready)):
        api.router.add_route(f"{settings.health_path}/{name}", endpoint, include_in_schema=False)


async def _ready(app: App) -> Response:
    """Look at the store and every projection now. All that is wrong is named, events among it."""
    headers = {"Cache-Control": "no-store"}
    if not app.is_running:
        return problem(_NOT_READY, "The app is not running.", headers)
    try:
        status, limits = await app.status(), app.lag_limits
    except DiptychError as error:
        return problem(_NOT_READY, f"The store cannot be read: {error}"[:_LONGEST], headers)
    reasons = [wrong.message for one in status.projections for wrong in _reasons(one, limits[one.name])]
    projections = [_shown(one, limits[one.name]) for one in status.projections]
    reasons += [one.problem for one in status.duties if one.problem is not None and makes_unready(one)]
    shown: dict[str, Any] = {"projections": projections}
    if status.duties:
        shown["duties"] = [_duty(one) for one in status.duties]
    if reasons:
        return problem(_NOT_READY, " ".join(reasons), headers, reasons=reasons, **shown)
    return JSONResponse({"status": "ready", "head": status.head, **shown}, headers=headers)


def _reasons(one: ProjectionStatus, limit: float) -> list[Firing]:
    """Rows that are frozen are served on purpose, until they are too old."""
    return [wrong for wrong in wrong_with(one, limit) if wrong.kind != "frozen"]


def _duty(one: DutyStatus) -> dict[str, object]:
    shown = asdict(one)
    del shown["error"]
    return shown


def _shown(one: ProjectionStatus, limit: float) -> dict[str, object]:
    shown = asdict(one)
    del shown["tables"], shown["error"], shown["lanes"], shown["note"]
    return {**shown, "lag_limit": limit}
