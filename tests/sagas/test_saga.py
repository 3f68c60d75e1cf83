"""A saga as its user sees it, on every store: it carries work across aggregates, and waits."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from diptych import App, FixedClock, new_id
from diptych.messages import DomainEvent
from diptych.stream import StreamName
from tests.sagas.shop import AddStock, CancelOrder, PayOrder, PlaceOrder, shop_app
from tests.urls import url_for

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind."""
    return url_for(request, tmp_path)


@pytest.fixture
def clock() -> FixedClock:
    """A clock that the tests move."""
    return FixedClock()


@pytest.fixture
async def app(url: str, clock: FixedClock) -> AsyncIterator[App]:
    """The shop, running."""
    async with shop_app(url, clock) as app:
        yield app


async def names_of(app: App, category: str, id: object) -> list[str]:
    """The events of a stream, by name."""
    return [row.type for row in await app.events.read_stream(StreamName("", category, id))]  # type: ignore[arg-type]


async def test_it_carries_an_order_from_stock_to_shipping(app: App) -> None:
    """S1, S4"""
    order, product = new_id(), new_id()
    await app.commands.dispatch(AddStock(product_id=product, quantity=5))
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=2))
    await app.settled()
    assert await names_of(app, "Stock", product) == ["StockAdded", "StockReserved"]
    await app.commands.dispatch(PayOrder(order_id=order))
    await app.settled()
    assert await names_of(app, "Order", order) == ["OrderPlaced", "OrderPaid", "OrderShipped"]
    assert await names_of(app, "Fulfilment", order) == ["diptych.saga.stepped"] * 4


async def test_a_timer_acts_when_its_time_has_come(app: App, clock: FixedClock) -> None:
    """S2"""
    order, product = new_id(), new_id()
    await app.commands.dispatch(AddStock(product_id=product, quantity=5))
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=2))
    await app.settled()
    clock.advance(timedelta(minutes=29))
    await app.settled()
    assert await names_of(app, "Order", order) == ["OrderPlaced"]
    clock.advance(timedelta(minutes=1))
    await app.settled()
    assert await names_of(app, "Order", order) == ["OrderPlaced", "OrderCancelled"]
    assert await names_of(app, "Stock", product) == ["StockAdded", "StockReserved", "StockReleased"]


async def test_a_cancelled_timer_does_not_act(app: App, clock: FixedClock) -> None:
    """S2"""
    order, product = new_id(), new_id()
    await app.commands.dispatch(AddStock(product_id=product, quantity=5))
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=2))
    await app.commands.dispatch(PayOrder(order_id=order))
    await app.settled()
    clock.advance(timedelta(hours=1))
    await app.settled()
    assert await names_of(app, "Order", order) == ["OrderPlaced", "OrderPaid", "OrderShipped"]


async def test_a_rejection_comes_back_to_the_saga(app: App) -> None:
    """S1: a refused command is recorded, and the saga decides what follows."""
    order = new_id()
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=2))
    await app.settled()
    assert await names_of(app, "Order", order) == ["OrderPlaced", "OrderCancelled"]
    steps = [app.codec.decode(row) for row in await app.events.read_stream(StreamName("", "Fulfilment", order))]
    assert [_cause(step) for step in steps] == ["event OrderPlaced", "rejection ReserveStock", "event OrderCancelled"]


async def test_what_nobody_takes_puts_the_saga_aside(app: App) -> None:
    """A rejection without a method for it is never swallowed: the saga is stuck, and says why."""
    order, product = new_id(), new_id()
    await app.commands.dispatch(AddStock(product_id=product, quantity=5))
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=2))
    await app.settled()
    await app.commands.dispatch(CancelOrder(order_id=order, reason="changed my mind"))
    await app.settled()
    assert await names_of(app, "Stock", product) == ["StockAdded", "StockReserved", "StockReleased"]


def _cause(step: DomainEvent) -> str:
    cause = step.cause  # type: ignore[attr-defined]
    return f"{cause.kind} {cause.name}"
