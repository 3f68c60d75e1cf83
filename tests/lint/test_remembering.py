"""What a projection keeps beside its rows, and hides; and what looks like it and is allowed."""

import pytest

from tests.lint.sources import ids, indented
from tests.lint.test_projecting import projection

BEFORE = "CACHE = {}\nSEEN: list[int] = []\nLIMIT = 5"


@pytest.mark.parametrize(
    "body",
    [
        "self.last = event",
        "self.count += 1",
        "self.seen[event.cents] = 1",
        "self.seen.append(event.cents)",
        "self.a, self.b = 1, 2",
        "CACHE[event.cents] = 1",
        "SEEN.append(event.cents)",
        "CACHE.setdefault(1, []).append(2)",
        "global LIMIT\nLIMIT = 6",
    ],
)
def test_what_is_kept_between_events_is_found(body: str) -> None:
    assert ids(projection(body, BEFORE)) == ["DP207"]


def test_what_another_method_keeps_is_found() -> None:
    assert ids(projection("self._note()", more="\n    def _note(self) -> None:\n        self.seen = 1\n")) == ["DP207"]


@pytest.mark.parametrize(
    "body",
    [
        "seen = {}\nseen[1] = 2",
        "CACHE = {}\nCACHE[1] = 2",
        "names = CACHE.get(event.cents)",
        "rows = []\nrows.append(1)",
        "known = self.names[1]",
        "LIMIT.update(1)",
    ],
)
def test_what_ends_with_the_call_is_none(body: str) -> None:
    assert ids(projection(body, BEFORE)) == []


def test_what_init_sets_is_none() -> None:
    assert ids(projection("pass", more="\n    def __init__(self) -> None:\n        self.names = {1: 'one'}\n")) == []


@pytest.mark.parametrize("caught", ["Exception", "BaseException", "(ValueError, Exception)", ""])
@pytest.mark.parametrize("then", ["pass", "print('oh')"])
def test_a_swallowed_error_is_found(caught: str, then: str) -> None:
    assert ids(projection(f"try:\n    x = 1\nexcept {caught}:\n    {then}".replace(" :", ":"))) == ["DP209"]


def test_a_suppressed_error_is_found() -> None:
    assert ids(projection("with contextlib.suppress(Exception):\n    x = 1")) == ["DP209"]


@pytest.mark.parametrize(
    "body",
    [
        "try:\n    x = 1\nexcept ValueError:\n    pass",
        "try:\n    x = 1\nexcept Exception:\n    raise",
        "try:\n    x = 1\nexcept Exception as error:\n    raise ValueError(event.cents) from error",
        "with contextlib.suppress(KeyError):\n    x = 1",
    ],
)
def test_an_error_that_is_meant_is_none(body: str) -> None:
    assert ids(projection(body)) == []


def test_a_function_that_is_no_projection_may_swallow() -> None:
    assert ids("def work() -> None:\n" + indented("try:\n    x = 1\nexcept Exception:\n    pass", 4)) == []
