"""Work that ends its process is found and put aside after three deaths, and all that was beside it is done (P7)."""

from collections import Counter
from pathlib import Path

import pytest

from diptych.app.duty_status import DutyStatus
from diptych.subscriptions.tasks import PARKED, tasks_table
from tests.sagas.deadly import DEADLY, deaths, made, place
from tests.sagas.faults import rows
from tests.urls import url_for

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that is there for the next process."""
    return url_for(request, tmp_path)


async def test_a_reaction_and_a_step_that_end_the_process_are_put_aside(url: str, tmp_path: Path) -> None:
    """P7, S1: the saga is stuck, for nobody knows what its call did."""
    await place(url, tmp_path, [1, 2, DEADLY, 4, 5])
    assert await deaths(url, tmp_path) in range(3, 7)
    tried = Counter((tmp_path / "tried").read_text().split())
    assert tried.keys() == {"1", "2", "4", "5", str(DEADLY)}
    assert 1 <= tried[str(DEADLY)] <= 3
    app, _ = made(url, tmp_path, is_worker=False)
    async with app:
        found: dict[str, DutyStatus] = {one.name: one for one in (await app.status()).duties}
        assert {name for name, one in found.items() if one.state == "parked"} == {"receipt", "Packing"}
        assert "the process ended each time it was tried, at last alone" in str(found["receipt"].problem)
        assert (found["Packing"].stuck, found["Packing"].waiting) == (1, 0)
        for duty in ("receipt", "Packing"):
            (aside,) = await rows(app, tasks_table(duty), f"state = '{PARKED}'")
            assert "EndedError" in aside.error
