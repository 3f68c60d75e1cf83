"""What one request and its answer have to do with Diptych, kept beside them in the ASGI scope."""

from collections.abc import Mapping
from typing import Any

from starlette.types import Message, Scope, Send

from diptych.app.application import App
from diptych.web.settings import WebSettings

_KEY = "diptych"
_ONLY_ON_SUCCESS = frozenset((b"etag", b"location", b"idempotent-replayed"))


class Exchange:
    """One request: its headers, the app it is for, and the headers that its answer shall have."""

    has_started = False
    is_precondition_failed = False
    _position, _age = -1, -1.0

    def __init__(self, app: App, settings: WebSettings, scope: Scope, send: Send) -> None:
        self.app, self.settings, self._send = app, settings, send
        self.headers: Mapping[bytes, bytes] = dict(scope["headers"][::-1])  # the first of several wins, as in Starlette
        self.given: dict[bytes, bytes] = {}
        scope[_KEY] = self

    def header(self, name: bytes) -> str | None:
        """A header of the request, by its name in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def give(self, name: bytes, value: str) -> None:
        """Put a header on the answer, whatever the route returns; on a problem too, but for ETag and the like."""
        self.given[name] = value.encode("latin-1")

    def saw(self, position: int, token: str) -> None:
        """Note a place in the log that the answer has seen; the furthest one is given as Diptych-Position."""
        if position > self._position:
            self._position = position
            self.give(b"diptych-position", token)

    def aged(self, seconds: float) -> None:
        """Note how old an answer of the read side is; the oldest one is given as Diptych-Age."""
        if seconds > self._age:
            self._age = seconds
            self.give(b"diptych-age", f"{seconds:.3f}")

    async def send(self, message: Message) -> None:
        """Pass the answer on, with its headers."""
        if message["type"] == "http.response.start":
            self.has_started = True
            if self.given:
                message["headers"] = self._with_given(message["status"], message.get("headers", ()))
        await self._send(message)

    def _with_given(self, status: int, headers: Any) -> list[tuple[bytes, bytes]]:
        named = {name for name, _ in headers}
        if status >= 400:
            named |= _ONLY_ON_SUCCESS
        return [*headers, *((name, value) for name, value in self.given.items() if name not in named)]


def exchange_of(scope: Scope) -> Exchange | None:
    """The exchange of this request; None where `install` was forgotten."""
    exchange: Exchange | None = scope.get(_KEY)
    return exchange
