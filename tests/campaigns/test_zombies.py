"""P5 and P1: of workers that are stopped past their lease, or killed, nothing late takes effect; others take over."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from tests.campaigns.zombies import Moment, kill_and_take_over, stop_and_wake
from tests.urls import url_for

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store whose locks nobody keeps for long."""
    found = url_for(request, tmp_path)
    return f"{found}{'&' if '?' in found else '?'}lock_timeout=2"


async def test_a_worker_that_was_stopped_past_its_lease_writes_nothing_when_it_wakes_up(url: str) -> None:
    """P5: at any moment, right before a commit, and inside a transaction; lanes spread again over all."""
    moments: Sequence[Moment] = ("any", "before", "inside", "before")
    found = await stop_and_wake(url, moments, Random(1))
    assert found.rounds == 4
    assert found.refused > 0


async def test_a_store_that_took_a_late_commit_would_be_found(url: str) -> None:
    """The same trial, over a store that knows no epochs: what it wrote twice is seen, or the lanes never settle."""
    with pytest.raises(ExceptionGroup) as found:
        await stop_and_wake(url, ["before"] * 10, Random(1), forges=True)
    assert found.group_contains(AssertionError, match="P1|P5") or found.group_contains(TimeoutError, match="Board")


@pytest.mark.parametrize("is_elsewhere", [False, True], ids=["of this machine", "of another"])
async def test_when_a_worker_is_killed_others_take_over_and_nothing_is_applied_twice(
    url: str, is_elsewhere: bool
) -> None:
    """P5, P1: the rest have all lanes, and reach what was in the log."""
    found = await kill_and_take_over(url, 2, Random(1), 0.4, is_elsewhere=is_elsewhere)
    assert len(found.recovered) == 2
