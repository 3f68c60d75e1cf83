"""What a request says of its command in headers: its id, the version it was decided on, the conversation it is part of.

Rule: text in, values out; nothing here knows a bus.
"""

import re
from typing import Final
from uuid import UUID

from diptych.clock import id_for
from diptych.errors import InvalidInputError
from diptych.stream import read_token
from diptych.web.problems import PRECONDITION_FAILED, RefusedError

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TAG: Final = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"|([0-9]+)')
_TRACE: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_LONGEST: Final = 255


def command_id_of(key: str) -> UUID:
    """Make a command id of an Idempotency-Key: a UUID as it is, any other text always the same UUIDv5.

    The quotes of the IETF draft are taken off. :raises RefusedError: it is empty, too long or not printable.
    """
    text = _unquoted(key)
    if not 1 <= len(text) <= _LONGEST or not text.isprintable():
        detail = f"Idempotency-Key takes 1 to {_LONGEST} printable characters, best a UUID."
        raise RefusedError(400, "malformed-header", "A header is malformed", detail)
    return UUID(text) if _UUID.fullmatch(text) else id_for("idempotency-key", text)


def version_of(if_match: str) -> int | None:
    """Read the version out of `If-Match: "3"`; None for `*`, which any version matches.

    A weak tag is taken for what it names, since proxies that compress weaken the tags that pass through them; and so
    is a number without its quotes.
    :raises RefusedError: with 412 for a tag that no version has, with 400 for no tag or several.
    """
    text = if_match.strip()
    if text == "*":
        return None
    tag = _TAG.fullmatch(text)
    if tag is None:
        detail = 'If-Match takes one version, as in If-Match: "3", or *.'
        raise RefusedError(400, "malformed-header", "A header is malformed", detail)
    version = tag[1] or tag[2] or ""
    if not version.isdigit() or not version.isascii() or len(version) > 18:
        failed = PRECONDITION_FAILED
        raise RefusedError(failed.status, failed.name, failed.title, "No version has this tag. Read it again.")
    return int(version)


def place_of(after: str) -> str:
    """Return what Diptych-After names. :raises RefusedError: with 400, it is no place in a log."""
    try:
        read_token(after)
    except InvalidInputError as error:
        detail = "Diptych-After takes what an answer gave as Diptych-Position."
        raise RefusedError(400, "malformed-header", "A header is malformed", detail) from error
    return after


def tag_of(version: int) -> str:
    """Write a version as an entity tag. It names the version of the aggregate, not the bytes of an answer."""
    return f'"{version}"'


def correlation_of(correlation: str | None, traceparent: str | None) -> UUID | None:
    """Read the conversation out of X-Correlation-ID, or the trace id out of W3C traceparent; None without either.

    These two come from other systems, so what cannot be used is passed over rather than refused.
    """
    if correlation is not None:
        text = _unquoted(correlation)
        if _UUID.fullmatch(text):
            return UUID(text)
        if 1 <= len(text) <= _LONGEST and text.isprintable():
            return id_for("correlation", text)
    if traceparent is not None and (trace := _TRACE.fullmatch(traceparent.strip())) and int(trace[1], 16):
        return UUID(trace[1])
    return None


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text
