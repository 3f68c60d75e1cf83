"""Whether two states hold the same: what the check for changes outside `@on` rests on."""

from math import inf, nan
from typing import Any

import pytest

from diptych.write.comparing import differing, is_same


class Plain:
    """Says nothing of what is equal."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class Slotted:
    """Keeps its values in slots, one of which may be empty."""

    __slots__ = ("left", "right")

    def __init__(self, left: Any) -> None:
        self.left = left


class Alike:
    """Equal to all of its kind."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike)

    def __hash__(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nan, float("nan")), (1, 1.0), ([1, [nan]], [1, [float("nan")]]), ((), ()), ({"a": nan}, {"a": float("nan")}),
        (Plain(a=[nan]), Plain(a=[float("nan")])), (Slotted(Plain(a=1)), Slotted(Plain(a=1))), (Alike(), Alike()),
        ({1, 2}, {2, 1}),
    ],
)  # fmt: skip
def test_what_holds_the_same_is_the_same(one: Any, other: Any) -> None:
    assert is_same(one, one)
    assert is_same(one, other)
    assert is_same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nan, 1.0), (nan, None), (inf, -inf), (1, "1"), ([1], [1, 2]), ([1, 2], [1]), ([1], (1,)), ([1, 2], [2, 1]),
        ({"a": 1}, {"a": 2}), ({"a": 1}, {"b": 1}), ({"a": 1}, {}), (Plain(a=1), Plain(a=2)), (Plain(a=1), Plain()),
        (Slotted(1), Slotted(2)), (Plain(left=1), Slotted(1)), (Alike(), Plain()), ({1}, {2}),
    ],
)  # fmt: skip
def test_what_holds_something_else_is_not(one: Any, other: Any) -> None:
    assert not is_same(one, other)
    assert not is_same(other, one)


def test_names_that_differ_are_told_in_order() -> None:
    one = {"c": 1, "b": [1], "a": None, "same": nan}
    assert differing(one, {"b": [2], "d": 1, "same": float("nan")}) == ["a", "b", "c", "d"]
    assert differing(one, dict(one)) == []
