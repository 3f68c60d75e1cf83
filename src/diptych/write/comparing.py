"""Whether two states hold the same, also where the class of a value does not say what is equal.

Rule: for tests and development; nothing here knows what an aggregate is.
"""

from collections.abc import Mapping
from math import isnan
from typing import Any, Final

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


def _attributes(value: Any) -> dict[str, Any]:
    slots = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ()) if hasattr(value, name)]
    return {**getattr(value, "__dict__", {}), **{name: getattr(value, name) for name in slots}}
