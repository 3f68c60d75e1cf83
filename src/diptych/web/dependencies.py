"""The FastAPI dependencies: the buses of a request, and what a route may demand of one."""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import Depends, Request

from diptych.errors import ConfigurationError
from diptych.read.bus import QueryBus
from diptych.web.buses import RequestCommands, RequestQueries
from diptych.web.exchange import Exchange, exchange_of
from diptych.web.problems import RefusedError
from diptych.web.request_headers import tag_of
from diptych.write.bus import CommandBus

CommandsOf = Callable[..., Any]
COMMANDS = "__diptych_commands__"  # marks a dependency, for the OpenAPI document


@cache
def commands_as(current_user: Callable[..., Any]) -> CommandsOf:
    """Make the dependency that gives a route its command bus, with `current_user` (any dependency) saying who asks.

        Commands = Annotated[CommandBus, Depends(commands_as(current_user))]

    `current_user` returns a str, a UUID, an int, or None for nobody. Called twice with the same function it returns
    the same dependency, so both can be replaced by `dependency_overrides`.
    """

    async def commands(request: Request, user: Annotated[Any, Depends(current_user)]) -> CommandBus:
        return RequestCommands(started_exchange(request), _user_id(user, current_user))

    setattr(commands, COMMANDS, True)
    return commands


def nobody() -> None:
    """The user of an API that has none."""


Commands = Annotated[CommandBus, Depends(commands_as(nobody))]
"""A route's command bus in an API without users: `async def place_order(order: PlaceOrder, commands: Commands)`."""


async def queries(request: Request) -> QueryBus:
    """Give a route its query bus, bound to the headers of the request and of its answer."""
    return RequestQueries(started_exchange(request))


Queries = Annotated[QueryBus, Depends(queries)]
"""A route's query bus: `async def orders(queries: Queries)`."""


async def require_if_match(request: Request) -> None:
    """Refuse a request without If-Match with 428: `dependencies=[Depends(require_if_match)]`."""
    if "if-match" not in request.headers:
        detail = 'Say which version you have seen, as in If-Match: "3" (the ETag of the last answer).'
        raise RefusedError(428, "precondition-required", "The version you have seen is required", detail)


def tag(request: Request, version: int) -> None:
    """Give the answer of this request an ETag: the version of the aggregate that it shows."""
    _installed(request).give(b"etag", tag_of(version))


def locate(request: Request, route: str, **path: Any) -> None:
    """Give the answer a Location: the path of the route with this name, the one of what was created."""
    url = request.scope.get("root_path", "").rstrip("/") + request.app.url_path_for(route, **path)
    _installed(request).give(b"location", quote(url, safe="/:@!$&'()*+,;=~"))


def started_exchange(request: Request) -> Exchange:
    """Return what Diptych knows of this request.

    :raises ConfigurationError: one sentence each for a forgotten `install`, a mounted application whose lifespan never
        runs, a TestClient without `with`, and a server that runs no lifespan.
    """
    exchange = _installed(request)
    if exchange.app.is_running:
        return exchange
    if request.scope.get("app_root_path", request.scope.get("root_path")) != request.scope.get("root_path"):
        raise ConfigurationError(
            f"This FastAPI application is mounted at {request.scope['root_path']}, and the lifespan of a mounted "
            "application never runs. Call install(app, api) with the outer application instead."
        )
    if request.client is not None and request.client.host == "testclient":
        raise ConfigurationError(
            "The app is not started: TestClient runs the lifespan only as a context manager. "
            "Write `with TestClient(api) as client:`."
        )
    raise ConfigurationError(
        "The app is not started: nobody ran the lifespan of this FastAPI application. Let the server run it "
        "(uvicorn --lifespan on), or write `async with app:` around it, as for httpx.ASGITransport."
    )


def _installed(request: Request) -> Exchange:
    exchange = exchange_of(request.scope)
    if exchange is None:
        raise ConfigurationError(
            "This FastAPI application knows no Diptych app: install was forgotten. "
            "Write install(app, api) after api = FastAPI()."
        )
    return exchange


def _user_id(user: Any, current_user: Callable[..., Any]) -> str | None:
    if user is None or isinstance(user, str):
        return user
    if isinstance(user, UUID | int) and not isinstance(user, bool):
        return str(user)
    name = getattr(current_user, "__qualname__", repr(current_user))
    raise ConfigurationError(
        f"commands_as({name}): it returned a {type(user).__name__}. "
        "Let it return the user's id: a str, a UUID, an int, or None for nobody."
    )
