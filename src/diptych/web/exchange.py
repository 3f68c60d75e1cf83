"""What one request and its answer have to do with Diptych, kept beside them in the ASGI scope."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from starlette.types import Message, Scope, Send

from diptych.app.application import App
from diptych.clock import id_for
from diptych.messages import Command
from diptych.stream import StreamName
from diptych.web.settings import WebSettings

_KEY = "diptych"
_ONLY_ON_SUCCESS = frozenset((b"etag", b"location", b"idempotent-replayed"))


class Sent:
    """The commands that one request has sent so far, over whichever of its buses."""

    __slots__ = ("_counts", "_ids", "are_all_replays", "correlation_id", "first", "versions")

    def __init__(self) -> None:
        self.first: Command[Any] | None = None
        self.correlation_id: UUID | None = None
        self.versions: dict[StreamName, int] = {}
        self.are_all_replays = True
        self._ids: dict[int, tuple[Command[Any], UUID]] = {}
        self._counts: dict[type, int] = {}

    def id_of(self, command: Command[Any], key: UUID) -> UUID:
        """Make the id of a command under the key of the request: the key itself for the first one of a type.

        Further ones get ids of their own, in the order in which the route sends them; the same object keeps its id.
        """
        if id(command) not in self._ids:
            n = self._counts.get(type(command), 0)
            self._counts[type(command)] = n + 1
            self._ids[id(command)] = (command, key if n == 0 else id_for("command", f"{key}/{n}"))
        return self._ids[id(command)][1]


class Exchange:
    """One request: its headers, the app it is for, and the headers that its answer shall have."""

    has_started = False
    is_precondition_failed = False
    _position, _age = -1, -1.0

    def __init__(self, app: App, settings: WebSettings, scope: Scope, send: Send) -> None:
        self.app, self.settings, self._send = app, settings, send
        self._lines: list[tuple[bytes, bytes]] = scope["headers"]
        self.headers: Mapping[bytes, bytes] = dict(self._lines[::-1])  # the first of several wins, as in Starlette
        self.given: dict[bytes, bytes] = {}
        self.sent = Sent()
        scope[_KEY] = self

    def header(self, name: bytes) -> str | None:
        """A header of the request, by its name in lower case; of several lines, all of them with commas between."""
        value = self.headers.get(name)
        if value is not None and len(self.headers) < len(self._lines):
            value = b", ".join([text for line, text in self._lines if line == name])
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
        own = list(headers)
        named = {name for name, _ in own}
        if status >= 400:
            named |= _ONLY_ON_SUCCESS
        return [*own, *((name, value) for name, value in self.given.items() if name not in named)]


def exchange_of(scope: Scope) -> Exchange | None:
    """The exchange of this request; None where `install` was forgotten."""
    exchange: Exchange | None = scope.get(_KEY)
    return exchange
