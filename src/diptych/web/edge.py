"""The outermost ring: what may come in at all, and the headers that go out (I1).

Rule: pure ASGI, and nothing is read that the route does not read.
"""

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diptych.app.application import App
from diptych.web.exchange import Exchange
from diptych.web.head import answer_head
from diptych.web.problems import RefusedError, problem
from diptych.web.settings import WebSettings
from diptych.web.strict_json import NotStrictJsonError, check_json

_JSON_LINES = (b"jsonl", b"ndjson", b"json-seq", b"json-lines")  # not one JSON text; no route reads them as such


class Edge:
    """ASGI middleware: measures and checks bodies while the route reads them, and puts Diptych's headers on answers."""

    def __init__(self, app: ASGIApp, diptych: App, settings: WebSettings) -> None:
        self.app, self.diptych, self.settings = app, diptych, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["method"] == "HEAD":
            await answer_head(self._serve, scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(self.diptych, self.settings, scope, send)
        try:
            check_target(scope)
            if may_have_body(scope, exchange):
                receive = Body(exchange, receive, scope).receive
            await self.app(scope, receive, exchange.send)
        except RefusedError as refused:  # of what was read further in by a middleware, too: no route has seen it yet
            if exchange.has_started:
                raise
            await problem(refused.kind, refused.detail, refused.headers)(scope, receive, send)


class Body:
    """A request's body on its way in. JSON is checked whole before the route gets any of it; the rest is measured."""

    __slots__ = ("_exchange", "_is_json", "_receive", "_size")

    def __init__(self, exchange: Exchange, receive: Receive, scope: Scope) -> None:
        headers = exchange.headers
        self._exchange, self._receive, self._size = exchange, receive, 0
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and (len(announced) > 18 or int(announced) > exchange.settings.body_limit):
            raise self._too_large()
        media_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        self._is_json = b"json" in media_type and not media_type.endswith(_JSON_LINES)
        if not media_type:  # which FastAPI reads as JSON where it was told to be lenient
            self._is_json = not getattr(getattr(scope.get("app"), "router", None), "strict_content_type", True)
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
            detail = "Send the body as it is, without Content-Encoding."
            raise RefusedError(415, "unsupported-media-type", "The body is encoded", detail)

    async def receive(self) -> Message:
        """Return the next piece; of JSON, all of it at once. :raises RefusedError: which the route lets through."""
        message = await self._receive()
        if message["type"] != "http.request" or self._exchange.has_started:
            return message
        self._measure(message)
        if not self._is_json:
            return message
        if message.get("more_body", False):
            message = await self._rest(message)
        body = message.get("body", b"")
        if body:
            try:
                check_json(body, self._exchange.settings.json_depth)
            except NotStrictJsonError as error:
                raise RefusedError(400, "malformed-body", "The body is not strict JSON", str(error)) from error
        return message

    async def _rest(self, message: Message) -> Message:
        pieces = [message.get("body", b"")]
        while message.get("more_body", False):
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._measure(message)
            pieces.append(message.get("body", b""))
        return {"type": "http.request", "body": b"".join(pieces), "more_body": False}

    def _measure(self, message: MutableMapping[str, Any]) -> None:
        self._size += len(message.get("body", b""))
        if self._size > self._exchange.settings.body_limit:
            raise self._too_large()

    def _too_large(self) -> RefusedError:
        limit = self._exchange.settings.body_limit
        return RefusedError(413, "too-large", "The body is too large", f"At most {limit} bytes are read.")


def may_have_body(scope: Scope, exchange: Exchange) -> bool:
    """Whether there may be a body: HTTP/1 announces one, HTTP/2 need not."""
    headers = exchange.headers
    return (
        b"content-length" in headers
        or b"transfer-encoding" in headers
        or scope["method"] != "GET"
        or not scope.get("http_version", "").startswith("1")
    )


def check_target(scope: Scope) -> None:
    """Refuse a path or query string that holds a NUL or is not UTF-8. :raises RefusedError:"""
    path, query = scope["path"], scope.get("query_string", b"")
    if b"%" in query or b"\0" in query:
        _check_text(unquote_to_bytes(query))
    if "\0" in path:
        raise _malformed("It holds a NUL character (%00).")
    if not path.isascii():
        _check_text(unquote_to_bytes(scope.get("raw_path") or path.encode(errors="surrogatepass")))


def _check_text(text: bytes) -> None:
    if b"\0" in text:
        raise _malformed("It holds a NUL character (%00).")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise _malformed("Its percent-encoded bytes are not UTF-8.") from error


def _malformed(detail: str) -> RefusedError:
    return RefusedError(400, "malformed-target", "The path or query string is malformed", detail)
