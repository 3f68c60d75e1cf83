"""The routes of a FastAPI application as a flat list, whichever way its version keeps included routers."""

from collections.abc import Iterable, Iterator
from typing import Any

import fastapi.routing
from fastapi import FastAPI
from starlette.routing import Match
from starlette.types import Scope


def flat_routes(api: Any) -> Iterable[Any]:
    """Return every route of an application, those of included routers with their whole path."""
    flatten = getattr(fastapi.routing, "iter_route_contexts", None)  # newer FastAPI keeps included routers as a tree
    routes: Iterable[Any] = flatten(api.routes) if flatten else api.routes
    return routes


def applications(api: FastAPI) -> Iterator[FastAPI]:
    """Yield an application and every FastAPI application that is mounted in it."""
    yield api
    for route in flat_routes(api):
        mounted = mounted_in(route)
        if isinstance(mounted, FastAPI):
            yield from applications(mounted)


def mounted_in(route: Any) -> Any:
    """Return the application that a route leads to; None where it leads to none."""
    return getattr(getattr(route, "original_route", route), "app", None)


def allowed_methods(scope: Scope) -> str:
    """Return what may be done with a path, for `Allow`: of all routes that have it, not of the first only."""
    found: set[str] = set()
    for route in flat_routes(scope["app"]):
        if getattr(route, "methods", None) and route.matches(scope)[0] is not Match.NONE:
            found.update(route.methods)
    if "GET" in found:
        found.add("HEAD")
    return ", ".join(sorted(found))
