"""A lane that is let go of in the middle of a turn: what was read and not written down is read again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from diptych import new_id
from diptych.sagas.running import SagaDuty
from diptych.stream import StreamName
from tests.sagas.shop import AddStock, PlaceOrder, shop_app
from tests.urls import url_for

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that outlives an app."""
    return url_for(request, tmp_path)


async def test_what_was_read_and_not_written_down_is_read_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """S1, P1: the lane is let go of while its saga loads rows, as a worker that joins makes it."""
    is_read, take = asyncio.Event(), SagaDuty.take

    async def never_ends(duty: SagaDuty, given: Any, turn: Any, load: Any) -> None:
        if given.events:
            is_read.set()
            await asyncio.Event().wait()
        await take(duty, given, turn, load)

    order, product = new_id(), new_id()
    async with shop_app(url) as app:
        await app.commands.dispatch(AddStock(product_id=product, quantity=5))
        await app.settled(30)
    with monkeypatch.context() as patched:
        patched.setattr(SagaDuty, "take", never_ends)
        async with shop_app(url) as app:
            await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=2))
            async with asyncio.timeout(30):
                await is_read.wait()
    async with shop_app(url) as app:
        await app.settled(30)
        names = [row.type for row in await app.events.read_stream(StreamName("", "Stock", product))]
    assert names == ["StockAdded", "StockReserved"]
