"""Whether two values are the same to a test, also those whose class does not say.

Rule: nothing here knows an event, a row or an aggregate.
"""

import linecache
import re
from collections.abc import Mapping
from copy import deepcopy
from math import isnan
from typing import Any, Final

LONGEST: Final = 200
_ABSENT: Final = object()


def is_same(one: Any, other: Any) -> bool:
    """Compare by value: NaN is NaN, and an object whose class has no `==` is what its attributes are."""
    if one is other:
        return True
    if type(one) is not type(other):
        return bool(one == other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, float) and isnan(one):
        return isnan(other)
    if getattr(type(one), "__eq__") is object.__eq__:  # noqa: B009 - mypy knows what never is the same
        return is_same(_attributes(one), _attributes(other))
    return bool(one == other)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names under which two states do not hold the same, in order."""
    names = sorted(one.keys() | other.keys())
    return [name for name in names if not is_same(one.get(name, _ABSENT), other.get(name, _ABSENT))]


def copied(value: Any) -> Any:
    """Copy a value as deep as it goes; what cannot be copied stands for itself as text."""
    try:
        return deepcopy(value)
    except Exception:
        return f"<{type(value).__name__}>"


def short(value: Any) -> str:
    """Show a value on one line that is not too long to read."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def quoted(place: str) -> str:
    """Return the line of code at a place (`file:line name`), to stand on lines of its own."""
    found = re.match(r"(.+?):(\d+) ", place)
    line = linecache.getline(found[1], int(found[2])).strip() if found else ""
    return f"\n\n    {found[2]} | {line}\n\n" if found and line else " "


def _attributes(value: Any) -> dict[str, Any]:
    slots = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ()) if hasattr(value, name)]
    return {**getattr(value, "__dict__", {}), **{name: getattr(value, name) for name in slots}}
