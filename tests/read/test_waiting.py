"""When a wait for one's own write is over, and what it says: the rows are there, and in the copy that is read."""

from typing import Any, NamedTuple

import pytest

from diptych.read.waiting import Wanted, wait
from diptych.subscriptions.progress import Progress

pytestmark = pytest.mark.anyio


class Parked(NamedTuple):
    position: int


class Views:
    """Rows that are read from a copy, which has followed or has not."""

    def __init__(self, *, reads_a_copy: bool = False, is_there: bool = True, parked: tuple[int, ...] = ()) -> None:
        self.reads_a_copy, self._is_there, self._parked = reads_a_copy, is_there, parked
        self.asked: list[float] = []

    async def parked(self, projection: str) -> Any:
        return [Parked(position) for position in self._parked]

    async def is_copied(self, seconds: float) -> bool:
        self.asked.append(seconds)
        return self._is_there


def applied(position: int, parked: int = 0) -> Progress:
    progress = Progress("orders", event_types=frozenset({"placed"}))
    progress.shows("running")
    progress.advance(position)
    progress.parked = parked
    return progress


async def told(views: Views, progress: Progress, wanted: Wanted, seconds: float = 5.0) -> Any:
    return (await wait(wanted, [progress], views, seconds)).reason  # type: ignore[arg-type]


async def test_a_copy_that_has_followed_is_fresh_and_one_that_has_not_is_behind() -> None:
    """R1"""
    wanted = Wanted(3)
    assert await told(Views(reads_a_copy=True), applied(3), wanted) is None
    assert await told(Views(reads_a_copy=True, is_there=False), applied(3), wanted) == "behind"
    assert await told(Views(is_there=False), applied(3), wanted) is None


async def test_a_copy_is_waited_for_as_long_as_is_left_and_only_where_it_matters() -> None:
    """R1"""
    views = Views(reads_a_copy=True)
    await told(views, applied(3), Wanted(3))
    assert 0 < views.asked[0] <= 5.0
    await told(views, applied(3), Wanted(3, frozenset({"shipped"})))
    assert len(views.asked) == 1


async def test_what_is_parked_is_not_there() -> None:
    """R1, P7"""
    assert await told(Views(parked=(3,)), applied(5, parked=1), Wanted(3)) == "parked"
    assert await told(Views(parked=(2,)), applied(5, parked=1), Wanted(3)) is None


@pytest.mark.parametrize("seconds", [0.0, 0.01])
async def test_what_is_not_applied_in_time_is_behind(seconds: float) -> None:
    """R1"""
    assert await told(Views(), applied(2), Wanted(3), seconds) == "behind"
