"""What is left out for ever is what somebody asked to skip, and was skipped: the requests are the record of it."""

from collections.abc import AsyncIterator

import pytest

from diptych.projections.leaving_out import left_out, says_left_out
from diptych.store.leases import Verb
from diptych.store.opening import open_stores
from diptych.store.protocols import ViewStore
from diptych.testing.contracts.view_rows import SHOP, STORE, TALLIES

pytestmark = pytest.mark.anyio


@pytest.fixture
async def views() -> AsyncIterator[ViewStore]:
    """A store with two projections."""
    stores = open_stores("memory:")
    await stores.views.open([SHOP, TALLIES], store_id=STORE)
    yield stores.views
    await stores.views.close()


async def asked(views: ViewStore, projection: str, verb: Verb, position: int, outcome: str) -> None:
    """Ask for it, and have it answered so."""
    for request in await views.leases.ask(projection, verb, position=position, key="key" * (verb == "retry")):
        await views.leases.settle(request.id, outcome)


async def test_only_what_was_skipped_is_left_out(views: ViewStore) -> None:
    await views.leases.ask_lane("tallies", "skip", 0, key="", reason="not answered yet")
    for position, outcome in (
        (3, f"{says_left_out(3)} key: 1 event is applied."),
        (4, "Position 4 is neither parked nor did it stop the projection (nothing did). It is not left out."),
        (5, says_left_out(6)),
        (7, f"{says_left_out(7)} It goes on."),
    ):
        await asked(views, "tallies", "skip", position, outcome)
    await asked(views, "tallies", "rebuild", 0, says_left_out(0))
    await asked(views, "shop", "skip", 9, says_left_out(9))
    assert await left_out(views, "tallies") == {3, 7}
    assert await left_out(views, "shop") == {9}


async def test_it_is_left_out_however_much_is_asked_afterwards(
    views: ViewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3: a retry of all keys is a request for each lane, and may be asked for again and again."""
    monkeypatch.setattr("diptych.projections.leaving_out._MANY", 5)
    await asked(views, "tallies", "skip", 3, says_left_out(3))
    for _ in range(5):
        await views.leases.ask("tallies", "retry")
    assert await left_out(views, "tallies") == {3}
