"""Whether what was stored under one JSON schema can be read under another.

Rule: what is not understood is taken as readable, so that nobody is told of a break that is none.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Schema = Mapping[str, Any]

_LEAST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_MOST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_SAME: Final = ("pattern", "format", "multipleOf")


def is_readable(read: Any, stored: Any) -> bool:
    """Whether every value of the schema `stored` is one of the schema `read`, as far as that can be said."""
    if read == stored or not isinstance(read, Mapping) or not isinstance(stored, Mapping) or not read or not stored:
        return True
    if "anyOf" in stored or "oneOf" in stored:
        return all(is_readable(read, each) for each in _members(stored))
    if "anyOf" in read or "oneOf" in read:
        return any(is_readable(each, stored) for each in _members(read))
    if "$ref" in read or "$ref" in stored:
        return True
    allowed, given = _values(read), _values(stored)
    if allowed is not None:
        return given is not None and all(one in allowed for one in given)
    return _fits_type(read, stored) and _fits_limits(read, stored) and _fits_parts(read, stored)


def _members(schema: Schema) -> Sequence[Any]:
    found: Sequence[Any] = schema.get("anyOf") or schema.get("oneOf") or ()
    return found


def _values(schema: Schema) -> Sequence[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    found: Sequence[Any] | None = schema.get("enum")
    return found


def _fits_type(read: Schema, stored: Schema) -> bool:
    wanted, given = read.get("type"), stored.get("type")
    return wanted is None or given is None or wanted == given or (wanted, given) == ("number", "integer")


def _fits_limits(read: Schema, stored: Schema) -> bool:
    if _values(stored) is not None:
        return True  # each value would have to be tried
    return (
        all(name not in read or stored.get(name, float("-inf")) >= read[name] for name in _LEAST)
        and all(name not in read or stored.get(name, float("inf")) <= read[name] for name in _MOST)
        and all(name not in read or stored.get(name) == read[name] for name in _SAME)
    )


def _fits_parts(read: Schema, stored: Schema) -> bool:
    if not is_readable(read.get("items"), stored.get("items")):
        return False
    if not is_readable(read.get("additionalProperties"), stored.get("additionalProperties")):
        return False
    mine, theirs = read.get("properties"), stored.get("properties")
    if mine is None or theirs is None:
        return True
    if any(name not in stored.get("required", ()) for name in read.get("required", ())):
        return False
    if read.get("additionalProperties") is False and any(name not in mine for name in theirs):
        return False
    return all(is_readable(mine[name], schema) for name, schema in theirs.items() if name in mine)
