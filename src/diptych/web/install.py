"""`install`: joins an App and a FastAPI application, in one call and only once."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import FastAPI
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from diptych.app.application import App
from diptych.errors import ConfigurationError, DomainError
from diptych.web.edge import Edge
from diptych.web.flat_routes import applications
from diptych.web.health import add_health
from diptych.web.observing import Observed, add_metrics
from diptych.web.openapi import describe
from diptych.web.problems import (
    KINDS,
    answer_error,
    answer_http,
    answer_invalid,
    answer_invalid_message,
    answer_unexpected,
)
from diptych.web.routes import uses
from diptych.web.settings import WebSettings

_DEFAULTS = WebSettings()
_installed: WeakKeyDictionary[FastAPI, App] = WeakKeyDictionary()


def install(app: App, api: FastAPI, *, settings: WebSettings = _DEFAULTS) -> None:
    """Make a FastAPI application serve an App.

    Its lifespan starts the app first and stops it last, around the one it has already. Errors become problem details
    (RFC 9457), bodies are limited and checked, `/health/live` and `/health/ready` are there, with the client of
    Prometheus `/metrics` too, and the OpenAPI document says all that a client needs. Exception handlers that you
    registered before stay yours. FastAPI applications that are mounted in this one are served with it. Call it right
    after `api = FastAPI()`.

    :raises ConfigurationError: it was called before for this application, the application has served a request, or
        one of the two is none.
    """
    if not isinstance(app, App) or not isinstance(api, FastAPI):
        given = f"{type(app).__name__} and {type(api).__name__}"
        raise ConfigurationError(f"install takes an App and a FastAPI application, in this order, not {given}.")
    if api in _installed:
        raise ConfigurationError(
            "install(app, api) was called twice for one FastAPI application. Delete one of the calls; "
            "to serve two groups of handlers, use app.include(module)."
        )
    if api.middleware_stack is not None:
        raise ConfigurationError("install(app, api) came after the first request. Call it right after api = FastAPI().")
    _installed[api] = app
    _nest_lifespan(app, api)
    _answer_errors(api)
    add_health(app, api, settings)
    add_metrics(app, api, settings)
    describe(api)
    api.add_middleware(Edge, diptych=app, settings=settings)
    api.add_middleware(Observed, diptych=app, settings=settings)


def installed(api: FastAPI) -> App | None:
    """Return the App that was installed in a FastAPI application; None when there is none."""
    return _installed.get(api)


def _nest_lifespan(app: App, api: FastAPI) -> None:
    inner = api.router.lifespan_context
    expected: set[Any] = set()

    @asynccontextmanager
    async def lifespan(served: Any) -> AsyncIterator[Any]:
        faults: list[str] = []
        for one in applications(api):
            if one not in _installed:  # mounted: its lifespan never runs, and its errors never get here
                _installed[one] = app
                _answer_errors(one)
                describe(one)
            for use in uses(one) if _installed[one] is app else ():
                faults.extend([use.fault] if use.fault else [])
                for message in use.messages:
                    if (message, use.where) not in expected:
                        expected.add((message, use.where))
                        app.expect_handler(message, use.where)
        if faults:
            raise ConfigurationError(faults)
        async with app, inner(served) as state:
            yield state

    api.router.lifespan_context = lifespan


def _answer_errors(api: FastAPI) -> None:
    handlers: dict[Any, Callable[..., Any]] = api.exception_handlers
    for error in (*KINDS, DomainError):
        handlers.setdefault(error, answer_error)
    handlers.setdefault(ValidationError, answer_invalid_message)
    if 500 not in handlers:
        handlers.setdefault(Exception, answer_unexpected)
    if handlers.get(HTTPException) is http_exception_handler:
        handlers[HTTPException] = answer_http
    if handlers.get(RequestValidationError) is request_validation_exception_handler:
        handlers[RequestValidationError] = answer_invalid
