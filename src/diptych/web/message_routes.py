"""`routes_as`: routes without functions, where a command or a query stands under the path.

Rule: such a route passes on and answers; whatever needs more is a function, as in any FastAPI application.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from fastapi import Depends, HTTPException
from fastapi import Query as QueryString
from fastapi.routing import APIRoute
from starlette.routing import compile_path

from diptych.messages import Command, Query, result_type
from diptych.read.bus import QueryBus
from diptych.read.models import table_name
from diptych.web.dependencies import CommandsOf, Queries, commands_as, nobody
from diptych.web.path_commands import MESSAGE, from_path
from diptych.write.bus import CommandBus


@cache
def routes_as(current_user: Callable[..., Any] = nobody) -> type[APIRoute]:
    """Make the class of routes that take a message in the place of a function; `current_user` as for `commands_as`.

        router = APIRouter(route_class=routes_as(current_user))

        @router.post("/orders/{order_id}/cancel")
        class CancelOrder(Command):
            order_id: UUID
            reason: str

    The path gives the fields that it names; the body gives a command's other fields, the query string a query's. The
    answer is what the handler returns: 204 when a command returns nothing, 404 when a query's answer is None.
    """
    bus = commands_as(current_user)

    class MessageRoute(APIRoute):
        """A route that knows what to do with a message."""

        def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
            names = list(compile_path(path)[2])
            if inspect.isclass(endpoint) and issubclass(endpoint, Command):
                endpoint = _dispatching(endpoint, names, bus)
                if settings.get("status_code") is None and inspect.signature(endpoint).return_annotation is None:
                    settings["status_code"] = 204
            elif inspect.isclass(endpoint) and issubclass(endpoint, Query):
                endpoint = _asking(endpoint, names)
            super().__init__(path, endpoint, **settings)

    return MessageRoute


def _dispatching(command: type[Command[Any]], names: Sequence[str], bus: CommandsOf) -> Callable[..., Any]:
    async def dispatch(command: Command[Any], commands: CommandBus) -> Any:
        return (await commands.dispatch(command)).result

    given: Any = Annotated[command, from_path(command, *names)] if names else command
    result = result_type(command)
    return _signed(
        dispatch, command, None if result is NoneType else result, given, Annotated[CommandBus, Depends(bus)]
    )


def _asking(query: type[Query[Any]], names: Sequence[str]) -> Callable[..., Any]:
    async def ask(query: Query[Any], queries: QueryBus) -> Any:
        answer = await queries.dispatch(query)
        if answer is None:
            raise HTTPException(404, f"{type(query).__name__} found nothing.")
        return answer

    given: Any = Annotated[query, from_path(query, *names) if names else QueryString()]
    return _signed(ask, query, _without_none(result_type(query)), given, Queries)


def _signed(endpoint: Callable[..., Any], message: type[Any], returns: Any, *parameters: Any) -> Callable[..., Any]:
    """Let FastAPI see a function that was written for this message: its name, its docstring and its annotations."""
    endpoint.__name__ = endpoint.__qualname__ = table_name(message)
    endpoint.__doc__ = message.__doc__
    named = zip(inspect.signature(endpoint).parameters.values(), parameters, strict=True)
    signature = inspect.Signature([one.replace(annotation=hint) for one, hint in named], return_annotation=returns)
    setattr(endpoint, "__signature__", signature)  # noqa: B010 - a function has none to mypy
    setattr(endpoint, MESSAGE, message)
    return endpoint


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (Union, UnionType):
        return hint
    return Union[tuple(one for one in get_args(hint) if one is not NoneType)]  # noqa: UP007 - made at run time
