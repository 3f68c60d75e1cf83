"""What the OpenAPI document says beside the routes' own words: problems for every route, and Diptych's headers.

Rule: this only describes; what is described happens elsewhere.
"""

from collections.abc import Callable, Iterable
from typing import Any

from fastapi import FastAPI

from diptych.web.problems import MEDIA_TYPE, domain_statuses, phrase
from diptych.web.routes import Use, uses

_FASTAPI_ERRORS = ("HTTPValidationError", "ValidationError")

PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "What went wrong, as RFC 9457 has it.",
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Which kind of problem; compare by this."},
        "title": {"type": "string", "description": "The kind in words, always the same."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "This case in words."},
        "instance": {"type": "string", "description": "Under this name it was logged."},
        "errors": {
            "type": "array",
            "description": "Every place that does not validate.",
            "items": {
                "type": "object",
                "required": ["in", "detail", "code"],
                "properties": {
                    "in": {"type": "string", "description": "body, path, query, header or cookie"},
                    "pointer": {"type": "string", "description": "JSON pointer into the body (RFC 6901)."},
                    "name": {"type": "string", "description": "The parameter."},
                    "detail": {"type": "string"},
                    "code": {"type": "string"},
                },
            },
        },
    },
}

_TOKEN = {"type": "string", "format": "diptych-position"}
_COMMAND_HEADERS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Idempotency-Key", "The same key takes effect once; best a UUID.", {"minLength": 1, "maxLength": 255}),
    ("If-Match", 'The version you have seen, as in "3", or *.', {"pattern": r'^("[0-9]{1,18}"|\*)$'}),
    ("X-Correlation-ID", "The conversation this belongs to; best a UUID.", {}),
)
_QUERY_HEADERS = (("Diptych-After", "A Diptych-Position that the answer should have seen.", _TOKEN),)
_COMMAND_ANSWER = {
    "Diptych-Position": ("Send it as Diptych-After to read what you wrote.", _TOKEN),
    "ETag": ("The version of what was changed; send it as If-Match.", {"type": "string"}),
    "Idempotent-Replayed": ("true: this took effect before, and here is the first answer.", {"type": "string"}),
}
_QUERY_ANSWER = {
    "Diptych-Position": ("The answer has seen everything up to here.", _TOKEN),
    "Diptych-Age": ("Seconds since the oldest change that is not in the answer.", {"type": "number"}),
    "Diptych-Stale": ("true: the answer has not seen Diptych-After, or has gaps.", {"type": "string"}),
    "Diptych-Stale-Reason": ("behind, parked, stopped, paused, frozen or other-history", {"type": "string"}),
}


def describe(api: FastAPI) -> None:
    """Make the application's OpenAPI document say all this, whenever FastAPI writes it anew."""
    plain: Callable[[], dict[str, Any]] = api.openapi
    described: list[dict[str, Any]] = []

    def openapi() -> dict[str, Any]:
        document = plain()
        if not described or described[0] is not document:
            _describe(document, uses(api))
            described[:] = [document]
        return document

    setattr(api, "openapi", openapi)  # noqa: B010 - replaced on the instance, as FastAPI's own guide does


def _describe(document: dict[str, Any], routes: Iterable[Use]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = "Problem" if "Problem" not in schemas else "DiptychProblem"
    schemas[problem] = PROBLEM
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{problem}"}}}
    for route in routes:
        for method in route.methods:
            operation = document.get("paths", {}).get(route.path, {}).get(method)
            if operation is not None:
                _describe_operation(operation, route, content)
    empty = [name for name, one in schemas.items() if one.get("properties", {}) == {} and name.endswith("Body")]
    for name in (*_FASTAPI_ERRORS, *empty):
        if f"schemas/{name}'" not in str(document):
            schemas.pop(name, None)


def _describe_operation(operation: dict[str, Any], route: Use, content: dict[str, Any]) -> None:
    responses = operation.setdefault("responses", {})
    if route.is_bodiless:
        operation.pop("requestBody", None)
    if "HTTPValidationError" in str(responses.get("422", "")):
        del responses["422"]
        _add(responses, {422}, content)
    _add(responses, _statuses(operation, route), content)
    parameters = operation.setdefault("parameters", [])
    own = {one["name"].lower() for one in parameters if one["in"] == "header"}
    for name, words, schema in (*_COMMAND_HEADERS * route.has_commands, *_QUERY_HEADERS * route.has_queries):
        if name.lower() not in own:
            is_required = name == "If-Match" and route.needs_if_match
            parameters.append(_header(name, words, {"type": "string", **schema}, is_required))
    for status, response in responses.items():
        if status.startswith("2"):
            given = (_COMMAND_ANSWER if route.has_commands else {}) | (_QUERY_ANSWER if route.has_queries else {})
            for name, (words, schema) in given.items():
                response.setdefault("headers", {}).setdefault(name, {"description": words, "schema": schema})


def _statuses(operation: dict[str, Any], route: Use) -> set[int]:
    found = {400}
    if "requestBody" in operation or route.is_bodiless:
        found |= {413, 415}
    if route.has_commands:
        found |= {404, 409, 412, 422, 503} | domain_statuses()
    if route.has_queries:
        found |= {404, 503}
    if route.needs_if_match:
        found |= {428}
    return found


def _add(responses: dict[str, Any], statuses: set[int], content: dict[str, Any]) -> None:
    for status in sorted(statuses):
        response = responses.setdefault(str(status), {})
        response.setdefault("description", phrase(status))
        response.setdefault("content", content)
        if status == 503:
            retry = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            response.setdefault("headers", {}).setdefault("Retry-After", retry)


def _header(name: str, words: str, schema: dict[str, Any], is_required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": is_required, "description": words, "schema": schema}
