"""Work that ends its process is found and put aside after three deaths, and all that was beside it is done (P7)."""

from collections import Counter
from pathlib import Path

import pytest

from diptych import App, new_id
from diptych.app.duty_status import DutyStatus
from diptych.sagas.row import saga_table
from diptych.subscriptions.tasks import PARKED, tasks_table
from tests.reactions.test_inbox import paid
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


async def test_an_event_that_ends_the_process_in_a_saga_is_put_aside(url: str, tmp_path: Path) -> None:
    """P7, S1: it is read with others, and taken in with them, in one turn."""
    await place(url, tmp_path, [1, 2, DEADLY + 1, 4, 5])
    assert await deaths(url, tmp_path) == 3
    app, _ = made(url, tmp_path, is_worker=False)
    async with app:
        (found,) = [one for one in (await app.status()).duties if one.name == "Counting"]
        assert (found.state, found.waiting, found.parked) == ("parked", 0, 1)
        sagas = await rows(app, saga_table("Counting"), "status = 'running'")
        assert len(sagas) == 4


async def test_a_message_that_ends_the_process_is_put_aside(url: str, tmp_path: Path) -> None:
    """P7, D2: all others are taken, and no note of any is left."""
    amounts = [1, 2, DEADLY, 4, 5]
    (tmp_path / "messages").write_text("\n".join(paid(new_id(), amount).decode() for amount in amounts))
    assert await deaths(url, tmp_path) == 3
    noted = Counter((tmp_path / "noted").read_text().split())
    assert noted.keys() == {"1", "2", "4", "5", str(DEADLY)}
    assert noted[str(DEADLY)] == 3
    assert len((tmp_path / "acknowledged").read_text().split()) == 5
    app, _ = made(url, tmp_path, is_worker=False)
    async with app:
        ((state, error),) = await left(app)
        assert (state, error.partition(":")[0]) == ("parked", "EndedError")
        await app.events.inline.leases.ask("bank", "retry")
    assert await deaths(url, tmp_path) == 1
    async with made(url, tmp_path, is_worker=False)[0] as app:
        (request,) = await app.events.inline.leases.requests("bank")
        assert request.outcome == "0 of 1 taken"
        ((state, error),) = await left(app)
        assert (state, "the process ended while it was tried for request" in error) == ("parked", True)


async def left(app: App) -> list[tuple[str, str]]:
    """What the inbox has written down of its messages."""
    return [(one.state, one.error) for one in await rows(app, tasks_table("bank"), "kind = 'message'")]
