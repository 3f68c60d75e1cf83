"""Errors as HTTP answers: RFC 9457 problem details, from one table.

Rule: this is the only file that knows which error has which status.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from diptych.clock import new_id
from diptych.errors import (
    AggregateNotFoundError,
    CommandIdReusedError,
    ConfigurationError,
    ConflictError,
    DiptychError,
    DomainError,
    InvalidInputError,
    NotFoundError,
    OtherHistoryError,
    ReadModelNotFoundError,
    StaleReadError,
    StoreCorruptedError,
    StoreError,
    StoreFullError,
    StoreMovedError,
    StoreReadOnlyError,
    StoreUnavailableError,
    UnknownOutcomeError,
    WrongExpectedVersionError,
)
from diptych.messages import Command, Query
from diptych.web.exchange import exchange_of
from diptych.web.flat_routes import allowed_methods

T = TypeVar("T")

log = logging.getLogger("diptych.web")

MEDIA_TYPE = "application/problem+json"
_MOST_PLACES = 50
_TYPE = "urn:diptych:problem:"


@dataclass(frozen=True, slots=True)
class Kind:
    """How one class of error is answered. `says` replaces the error's own sentence where that is for the operator."""

    status: int
    name: str
    title: str
    says: str | None = None
    retry_after: int | None = None  # seconds


KINDS: Mapping[type[DiptychError], Kind] = {
    InvalidInputError: Kind(400, "invalid-input", "What was sent cannot be stored"),
    NotFoundError: Kind(404, "not-found", "There is no such thing"),
    AggregateNotFoundError: Kind(404, "not-found", "There is no such thing"),
    ReadModelNotFoundError: Kind(404, "not-found", "There is no such thing"),
    ConflictError: Kind(409, "conflict", "Somebody else was first"),
    WrongExpectedVersionError: Kind(409, "conflict", "Somebody else was first"),
    CommandIdReusedError: Kind(
        422, "idempotency-key-reused", "The idempotency key belongs to another request",
        "It came with other fields before. Send those again to get the first answer, or take a new key.",
    ),
    OtherHistoryError: Kind(
        503, "other-history", "The data was restored from elsewhere", "An operator has to start the service anew.", 60
    ),
    StaleReadError: Kind(
        503, "stale-read", "The answer is not fresh yet", "Try again, or leave out Diptych-After.", 1
    ),
    UnknownOutcomeError: Kind(
        503, "unknown-outcome", "It is not known whether this took effect",
        "With an Idempotency-Key, send the same request again; it takes effect at most once. Without, look first.", 1,
    ),
    StoreUnavailableError: Kind(503, "unavailable", "The store is busy", "Nothing was stored. Try again.", 1),
    StoreFullError: Kind(503, "unavailable", "The store is full", "Nothing was stored. Try again later.", 30),
    StoreReadOnlyError: Kind(503, "unavailable", "The store is read-only", "Nothing was stored. Try again later.", 30),
    StoreMovedError: Kind(503, "unavailable", "The store has moved", "An operator has to start the service anew.", 60),
    StoreCorruptedError: Kind(503, "unavailable", "The store is damaged", "An operator has to mend it first.", 60),
    StoreError: Kind(503, "unavailable", "The store cannot answer", "Try again later.", 30),
}  # fmt: skip

PRECONDITION_FAILED = Kind(412, "precondition-failed", "The version is not the one in If-Match")
INVALID = Kind(422, "invalid-request", "The request does not fit its description")
WRONG_MEDIA_TYPE = Kind(415, "unsupported-media-type", "The body is of a type that this route does not read")
INTERNAL = Kind(500, "internal-error", "Something went wrong here", "It was logged under the instance given here.")


class RefusedError(HTTPException):
    """A request that is turned away at the edge, before it reaches a route's own code."""

    def __init__(self, status: int, name: str, title: str, detail: str) -> None:
        super().__init__(status, detail)
        self.kind = Kind(status, name, title)


def problem(kind: Kind, detail: str | None, headers: Mapping[str, str] | None = None, **members: Any) -> Response:
    """Make the answer. Text is escaped to ASCII, so that no character of the request can break it."""
    document = {"type": _TYPE + kind.name, "title": kind.title, "status": kind.status}
    if detail:
        document["detail"] = detail
    document.update(members)
    response = Response(json.dumps(document), kind.status, headers, MEDIA_TYPE)
    if kind.retry_after is not None:
        response.headers["Retry-After"] = str(kind.retry_after)
    return response


def kind_of(error: Exception, is_conditional: bool = False) -> Kind | None:
    """How this error is answered; None for those that are nobody's fault but ours."""
    if isinstance(error, DomainError):
        return _domain_kind(type(error))
    if is_conditional and isinstance(error, WrongExpectedVersionError):
        return PRECONDITION_FAILED
    return next((KINDS[cls] for cls in type(error).__mro__ if cls in KINDS), None)


def domain_statuses() -> set[int]:
    """Every status that a domain error of this process may be answered with."""
    return {_domain_kind(cls).status for cls in _family(DomainError)}


def _domain_kind(cls: type[DomainError]) -> Kind:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", cls.__name__.removesuffix("Error"))
    words = words or cls.__name__
    status = cls.status if 400 <= cls.status < 600 else DomainError.status
    return Kind(status, words.lower().replace(" ", "-"), cls.title or words.capitalize())


async def answer_error(request: Request, error: Exception) -> Response:
    """Answer an error of the table. What is the operator's to mend is logged; its own words stay inside."""
    exchange = exchange_of(request.scope)
    kind = kind_of(error, is_conditional=exchange is not None and exchange.is_precondition_failed)
    if kind is None:
        raise error
    if not isinstance(error, StoreError | UnknownOutcomeError):
        return problem(kind, kind.says or str(error))
    instance = f"urn:uuid:{new_id()}"
    log.warning("%s %r: %s (%s)", request.method, request.url.path, error, instance)
    return problem(kind, kind.says, instance=instance)


async def answer_http(request: Request, error: HTTPException) -> Response:
    """Answer an HTTPException, Starlette's own 404 and 405 among them."""
    if isinstance(error, RefusedError):
        return problem(error.kind, error.detail, error.headers)
    if error.status_code < 200 or error.status_code in (204, 205, 304):
        return Response(status_code=error.status_code, headers=error.headers)
    headers = error.headers
    if error.status_code == 405:
        headers = {**(headers or {}), "Allow": allowed_methods(request.scope)}
    title = phrase(error.status_code)
    kind = Kind(error.status_code, title.lower().replace(" ", "-"), title)
    if isinstance(error.detail, str):
        return problem(kind, error.detail if error.detail != title else None, headers)
    return problem(kind, None, headers, info=jsonable_encoder(error.detail))


async def answer_invalid(request: Request, error: RequestValidationError) -> Response:
    """Answer what does not validate: 422 with every place, or 415 for a body that was never read as JSON."""
    found = error.errors()
    if isinstance(error.body, bytes) and any(one["loc"][0] == "body" for one in found if one.get("loc")):
        sent = request.headers.get("content-type", "")[:100]
        detail = f"Send application/json, not {sent}." if sent else "Send Content-Type: application/json."
        return problem(WRONG_MEDIA_TYPE, detail, {"Accept": "application/json"})
    return invalid(found)


async def answer_invalid_message(request: Request, error: ValidationError) -> Response:
    """Answer a command or query that a route built from what the client sent; any other model is our own fault."""
    if not _is_message(error.title):
        raise error
    return invalid([{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)])


async def answer_unexpected(request: Request, error: Exception) -> Response:
    """Answer anything else: a problem with nothing in it but the instance under which it was logged."""
    instance = f"urn:uuid:{new_id()}"
    log.error("%s %r failed (%s)", request.method, request.url.path, instance, exc_info=error)
    exchange = exchange_of(request.scope)
    is_told = isinstance(error, ConfigurationError) and exchange is not None and exchange.app.mode == "development"
    return problem(INTERNAL, str(error) if is_told else INTERNAL.says, instance=instance)


def invalid(found: Sequence[Any]) -> Response:
    """Make a 422 that names each place by JSON pointer (body) or parameter name, and never repeats what was sent."""
    places = [_place(one) for one in found[:_MOST_PLACES]]
    more = len(found) - len(places)
    many = f"{len(found)} things are wrong" if len(found) > 1 else "One thing is wrong"
    return problem(INVALID, f"{many}{', the first of them' if more else ''}: see errors.", errors=places)


def _place(one: Mapping[str, Any]) -> dict[str, str]:
    where, *steps = one.get("loc") or ("body",)
    place = {"in": str(where), "detail": str(one.get("msg", ""))[:300], "code": str(one.get("type", "invalid"))}
    if where == "body":
        place["pointer"] = "#" + "".join("/" + str(step).replace("~", "~0").replace("/", "~1")[:100] for step in steps)
    else:
        place["name"] = ".".join(str(step)[:100] for step in steps)
    return place


def _is_message(title: str) -> bool:
    named = (cls.model_config.get("title") or cls.__name__ for kind in (Command, Query) for cls in _family(kind))
    return title in named


def _family(cls: type[T]) -> Iterator[type[T]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _family(child)


def phrase(status: int) -> str:
    """The words of a status, also of one that no standard names."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Problem"
