"""`app.settled()`: what is to be waited for, whoever works on it, and what it says when it waits in vain."""

import asyncio
from pathlib import Path

import pytest

from diptych import App, StaleReadError, new_id
from diptych.app.tuning import Tuning
from tests.sagas.shop import AddStock, OrderPlaced, PayOrder, PlaceOrder, shop_app
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def place(app: App) -> None:
    """Place an order, which its saga carries, and pay."""
    order, product = new_id(), new_id()
    await app.commands.dispatch(AddStock(product_id=product, quantity=5))
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=2))
    await app.commands.dispatch(PayOrder(order_id=order))


def web(url: str) -> App:
    """A process that only answers."""
    return shop_app(url, tuning=Tuning(runs_projections=False))


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
async def test_who_only_answers_waits_for_what_others_do(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """It returned at once, with all of it still to be done."""
    request.param = store
    url = url_for(request, tmp_path)
    async with web(url) as answering, shop_app(url) as working:
        await place(answering)
        await answering.settled(30)
        assert (await working.status()).duties[0].waiting == 0
        types = [row.type for row in (await working.events.read_log(after=0, limit=100)).events]
        assert types[-1] == "diptych.saga.stepped"
        assert "OrderShipped" in types


async def test_who_only_answers_says_that_nobody_works(tmp_path: Path) -> None:
    async with web(f"sqlite:///{tmp_path}/shop.db") as app:
        await place(app)
        with pytest.raises(StaleReadError, match=r"Fulfilment: still behind .* no living process works on it"):
            await app.settled(0.1)


async def test_several_that_share_the_lanes_wait_for_each_other(tmp_path: Path) -> None:
    """None of them had all lanes, and so each waited in vain."""
    url = f"sqlite:///{tmp_path}/shop.db"
    async with shop_app(url) as first, shop_app(url) as second:
        keepers = [app._started().duties.keepers[0] for app in (first, second)]
        await until(lambda: all(len(keeper.works) == 2 for keeper in keepers), 15)
        for _ in range(8):
            await place(first)
        for app in (first, second):
            await app.settled(30)
        types = [row.type for row in (await first.events.read_log(after=0, limit=1000)).events]
        assert types.count("OrderShipped") == 8


async def test_what_is_tried_again_is_said_with_its_error() -> None:
    """A test that failed for a reaction said nothing of why."""
    app = shop_app("memory:")

    @app.reaction
    async def send_receipt(event: OrderPlaced) -> None:
        raise OSError("no route to the mail server")

    async with app:
        await place(app)
        with pytest.raises(StaleReadError, match=r"OrderPlaced of .* is tried again: OSError: no route to the mail"):
            await app.settled(2)


async def test_what_hangs_is_said_by_name() -> None:
    app, gate = shop_app("memory:"), asyncio.Event()

    @app.reaction
    async def send_receipt(event: OrderPlaced) -> None:
        await gate.wait()

    async with app:
        await place(app)
        with pytest.raises(StaleReadError, match=r"send_receipt: still behind .* OrderPlaced of .* is not done yet"):
            await app.settled(2)
        gate.set()
