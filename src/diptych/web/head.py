"""HEAD, as RFC 9110 has it: what GET would be answered, without the body.

Rule: a route of yours that takes HEAD itself is asked first; the server's own scope stays as it came.
"""

from typing import Any

from fastapi import FastAPI
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diptych.web.flat_routes import flat_routes, mounted_in


class _AnsweredError(Exception):
    """The answer is complete, and the route would go on sending its body."""


async def answer_head(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Have an application answer HEAD: by a route for GET where there is none for HEAD, and no further than headers."""

    async def without_body(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if message.get("more_body", False):
            raise _AnsweredError

    inner = {**scope, "method": "GET"} if _takes_only_get(scope) else scope
    try:
        await app(inner, receive, without_body)
    except* _AnsweredError:
        pass
    finally:  # whoever is further out asks which route it was
        scope.update({**inner, "method": scope["method"]})


def _takes_only_get(scope: Scope) -> bool:
    """Whether the router would refuse HEAD, and not GET."""
    takes_get = False
    for route in flat_routes(scope["app"]):
        match, child = route.matches(dict(scope))
        inner: Any = mounted_in(route)
        if match is Match.FULL:
            return isinstance(inner, FastAPI) and _takes_only_get({**scope, **child, "app": inner})
        takes_get = takes_get or (match is Match.PARTIAL and "GET" in (route.methods or ()))
    return takes_get
