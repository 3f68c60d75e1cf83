"""What operators watch: `/metrics` for Prometheus, and each request told to the app's observer.

Rule: no vendor is named here but to find out whether it is installed.
"""

from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diptych.app.application import App
from diptych.telemetry.observer import QUIET, Request, watched
from diptych.web.settings import WebSettings


def add_metrics(app: App, api: FastAPI, settings: WebSettings) -> None:
    """Count for Prometheus, and let it ask, if its client is installed and the settings give it a path."""
    if settings.metrics_path is None or find_spec("prometheus_client") is None:
        return
    from diptych.telemetry.prometheus import Prometheus, expose

    if not any(isinstance(each, Prometheus) for each in app.observers):  # one app may serve several applications
        app.observe(Prometheus())

    async def metrics(request: HttpRequest) -> Response:
        body, media_type = await expose(app.status, request.headers.get("accept", ""))
        return Response(body, headers={"Cache-Control": "no-store", "Content-Type": media_type})

    api.router.add_route(settings.metrics_path, metrics, include_in_schema=False)


class Observed:
    """ASGI middleware: tells the app's observer of each request, but for those that only ask how the service is."""

    def __init__(self, app: ASGIApp, diptych: App, settings: WebSettings) -> None:
        self.app, self.diptych = app, diptych
        self._not_told = (settings.metrics_path, f"{settings.health_path}/live", f"{settings.health_path}/ready")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        observer = self.diptych.observer
        if observer is QUIET or scope["type"] != "http" or scope["path"] in self._not_told:
            await self.app(scope, receive, send)
            return
        request = Request(
            scope["method"],
            path=scope["path"],
            scheme=scope.get("scheme", "http"),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        )
        outside = scope.get("root_path", "")

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
            await send(message)

        with watched(observer.request, request):
            try:
                await self.app(scope, receive, noting)
            finally:
                request.route = route_of(scope, outside)


def route_of(scope: Scope, outside: str) -> str | None:
    """Return the path of the route that a request was given to, with its parameters by name; None where none was.

    `outside` is the root path that the request came with: what was added to it since leads to a mounted application.
    """
    included: Any = scope.get("fastapi", {}).get("effective_route_context")  # newer FastAPI: with the routers' prefixes
    path = getattr(included, "path_format", None) or getattr(scope.get("route"), "path", None)
    return None if path is None else f"{scope.get('root_path', '').removeprefix(outside)}{path}"
