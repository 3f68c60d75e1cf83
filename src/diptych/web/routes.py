"""What the routes of a FastAPI application use of Diptych, read from their dependencies."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from inspect import isclass

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from starlette.routing import compile_path

from diptych.handlers import where
from diptych.messages import Command, Query
from diptych.web.dependencies import COMMANDS, queries, require_if_match
from diptych.web.flat_routes import flat_routes
from diptych.web.path_commands import BODILESS, MESSAGE, Message


@dataclass(slots=True)
class Use:
    """One route: its path and methods in the OpenAPI document, and which parts of Diptych it asks for."""

    path: str
    methods: frozenset[str]
    where: str
    has_commands: bool = False
    has_queries: bool = False
    needs_if_match: bool = False
    is_bodiless: bool = False
    messages: list[Message] = field(default_factory=list)
    path_fields: set[str] = field(default_factory=set)
    fault: str | None = None


def uses(api: FastAPI) -> Iterator[Use]:
    """Look at every route of an application, those of included routers too."""
    for route in flat_routes(api):
        dependant = getattr(route, "dependant", None)
        if isinstance(dependant, Dependant) and route.methods:
            written = getattr(route.endpoint, MESSAGE, route.endpoint)
            use = Use(route.path_format, frozenset(method.lower() for method in route.methods), where(written))
            _look(dependant, use)
            if written is not route.endpoint:
                use.fault = _fault(use, written)
            elif isclass(written) and issubclass(written, Command | Query):
                use.fault = (
                    f"{use.where}: {written.__name__} stands under {use.path} in a router without routes_as, so "
                    "that nobody would be sent it. Write APIRouter(route_class=routes_as())."
                )
            yield use


def _fault(use: Use, message: Message) -> str | None:
    unread = sorted((set(compile_path(use.path)[2]) & message.model_fields.keys()) - use.path_fields)
    if not unread:
        return None
    return (
        f"{use.where}: {message.__name__} would take {', '.join(unread)} from elsewhere than the path {use.path}, "
        "since routes_as does not see the prefix of include_router. Give it to APIRouter(prefix=...)."
    )


def _look(dependant: Dependant, use: Use) -> None:
    for parameter in (*dependant.body_params, *dependant.query_params):
        annotation = parameter.field_info.annotation
        if isclass(annotation) and issubclass(annotation, Command | Query):
            use.messages.append(annotation)
    for inner in dependant.dependencies:
        use.has_commands = use.has_commands or hasattr(inner.call, COMMANDS)
        use.has_queries = use.has_queries or inner.call is queries
        use.needs_if_match = use.needs_if_match or inner.call is require_if_match
        made = getattr(inner.call, MESSAGE, None)
        if made is not None:
            use.messages.append(made)
            use.path_fields.update(parameter.alias for parameter in inner.path_params)
            use.is_bodiless = getattr(inner.call, BODILESS)
        _look(inner, use)
