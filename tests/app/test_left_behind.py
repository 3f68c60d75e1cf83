"""What sagas and reactions owe whose name no code has any more: `diptych doctor` tells it, with what to do."""

from pathlib import Path

import pytest

from diptych import App, Saga, new_id, on
from diptych.app.doctor import examine
from diptych.app.left_behind import LeftBehind, left_behind
from diptych.app.outline import outline
from diptych.store.health import Check, Result
from tests.sagas.shop import AddStock, Fulfilment, OrderPlaced, PayOrder, PlaceOrder, shop, shop_app
from tests.urls import url_for

pytestmark = pytest.mark.anyio


class Renamed(Fulfilment):
    """The same saga, under another name."""


class Short(Saga):
    """One that is over at once."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Be done."""
        self.complete()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store."""
    return url_for(request, tmp_path)


def service(url: str, saga: type[Saga], receipts: str, *, fails: bool = False) -> App:
    """The shop with a saga, and a reaction of this name."""
    app = shop_app(url, saga=saga)

    @app.reaction(name=receipts, attempts=1)
    async def send_receipt(event: OrderPlaced) -> None:
        if fails:
            raise ValueError("no ink")

    return app


async def two_orders(app: App) -> None:
    """Place two, and pay one of them: its saga is over."""
    async with app:
        product = new_id()
        await app.commands.dispatch(AddStock(product_id=product, quantity=5))
        for is_paid in (False, True):
            order = new_id()
            await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=1))
            if is_paid:
                await app.commands.dispatch(PayOrder(order_id=order))
        await app.settled()


async def check(app: App) -> Check:
    """What the doctor says."""
    (found,) = [one async for one in examine(app) if one.name == "sagas and reactions"]
    return found


async def test_what_a_renamed_saga_and_a_renamed_reaction_owe_is_counted(url: str) -> None:
    await two_orders(service(url, Fulfilment, "receipts", fails=True))
    new = service(url, Renamed, "letters")
    async with new:
        await new.settled()
    found = {one.name: one for one in await left_behind(new, outline(new))}
    assert found == {"Fulfilment": LeftBehind("Fulfilment", 1, 1, 0, 0), "receipts": LeftBehind("receipts", 0, 0, 0, 2)}
    told = await check(new)
    assert told.result is Result.KO
    assert "Fulfilment (1 saga under way, 1 timer)" in told.detail
    assert "receipts (2 parked)" in told.detail
    assert told.fix.startswith("register it again under that name (name=)")


async def test_nothing_is_said_of_what_this_code_has(url: str) -> None:
    app = service(url, Fulfilment, "receipts", fails=True)
    await two_orders(app)
    assert await left_behind(app, outline(app)) == []
    assert await check(app) == Check("sagas and reactions", Result.OK, "nothing is owed that no code does")


async def test_what_owes_nothing_may_go(url: str) -> None:
    await two_orders(service(url, Short, "receipts"))
    told = await check(service(url, Fulfilment, "letters"))
    assert told.result is Result.OK
    assert told.detail.endswith("; without code: Short, receipts")


async def test_what_a_living_worker_has_is_not_left_behind(url: str) -> None:
    """In the middle of a deployment the older code looks."""
    await two_orders(service(url, Fulfilment, "receipts", fails=True))
    async with service(url, Fulfilment, "receipts") as newer:
        await newer.settled()
        assert await left_behind(service(url, Renamed, "letters"), outline(service(url, Renamed, "letters"))) == []


async def test_what_cannot_be_looked_at_is_no_finding() -> None:
    told = await check(service("memory:", Fulfilment, "receipts"))
    assert told.result is Result.UNKNOWN
    broken = App("sqlite:///shop.db")
    broken.include(shop())
    broken.saga(int)  # type: ignore[type-var]
    told = await check(broken)
    assert (told.result, told.detail) == (Result.UNKNOWN, "which there are is known once they are wired")
