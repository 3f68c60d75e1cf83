"""Orders that are paid in advance, through the whole order service, with a provider that is not always well."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import httpx
import pytest

from diptych import App, Clock, FixedClock, id_for, new_id
from diptych.stream import StreamName
from examples.demo.server import HOST, serving
from examples.orders.checkout import CheckOut
from examples.orders.customers import RegisterCustomer
from examples.orders.fake_provider import Charge, FakeProvider, Manners, make_provider
from examples.orders.inventory import ReceiveStock, RegisterProduct
from examples.orders.main import make_app
from examples.orders.orders import CancelOrder
from examples.orders.payments import RecordPayment
from examples.orders.provider import Charged, HttpProvider, provider_at
from examples.orders.values import Address, OrderItem
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio

ADA, TEAPOT, HOME = id_for("story", "ada"), id_for("story", "teapot"), Address(country="United Kingdom")
PATIENCE = 30.0  # seconds until what does not happen is a failure
SHIPPED = ["OrderCheckedOut", "GoodsSetAside", "OrderStatusChanged"]
CANCELLED = ["OrderCheckedOut", "GoodsSetAside", "OrderCancelled"]


class Shop:
    """The service, who takes its money, and what time it is."""

    def __init__(self, app: App, provider: FakeProvider, clock: FixedClock) -> None:
        self.app, self.provider, self.clock = app, provider, clock

    async def check_out(self, quantity: int = 1) -> UUID:
        """Order some of five teapots."""
        teapots = OrderItem(product_id=TEAPOT, quantity=quantity, unit_price=Decimal("23.50"))
        order = CheckOut(order_id=new_id(), customer_id=ADA, items=[teapots], shipping_address=HOME)
        return (await self.app.commands.dispatch(order)).result

    async def events(self, category: str, id: UUID) -> list[str]:
        """What happened to it, by name, but for how the order came to be."""
        found = [row.type for row in await self.app.events.read_stream(StreamName("", category, id))]
        return found[2:] if category == "Order" else found

    async def comes_to(self, order: UUID, events: list[str]) -> None:
        """Return when this has happened to an order."""
        with anyio.fail_after(PATIENCE):
            while await self.events("Order", order) != events:  # noqa: ASYNC110 - it is looked at, not told
                await anyio.sleep(0.005)

    async def free(self) -> int:
        """How many teapots are free, as the events say."""
        rows = await self.app.events.read_stream(StreamName("", "Stock", TEAPOT))
        signs = {"StockReceived": 1, "StockReleased": 1, "StockReserved": -1}
        decoded: list[tuple[int, Any]] = [(signs.get(row.type, 0), self.app.codec.decode(row)) for row in rows]
        return sum(sign * event.quantity for sign, event in decoded if sign)

    def charges_for(self, order: UUID) -> list[Charge]:
        """What the provider took for it."""
        return [charge for charge in self.provider.charges.values() if charge.payment_id == order]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    """Five teapots, and a provider that is well."""
    provider, clock = FakeProvider(), FixedClock()
    transport = httpx.ASGITransport(make_provider(provider))
    async with httpx.AsyncClient(transport=transport, base_url="http://provider") as client:
        app = make_app(url_for(request, tmp_path), HttpProvider(client))
        app.provide(Clock, clock)
        async with app:
            await app.commands.dispatch(RegisterCustomer(customer_id=ADA, name="Ada", address=HOME))
            await app.commands.dispatch(RegisterProduct(product_id=TEAPOT, description="Teapot"))
            await app.commands.dispatch(ReceiveStock(product_id=TEAPOT, quantity=5))
            yield Shop(app, provider, clock)


async def test_an_order_is_paid_and_shipped(shop: Shop) -> None:
    """S1"""
    order = await shop.check_out(2)
    await shop.app.settled(PATIENCE)
    assert await shop.events("Order", order) == SHIPPED
    assert await shop.events("Payment", order) == ["PaymentRequested", "PaymentReceived"]
    (charge,) = shop.charges_for(order)
    assert (charge.amount, charge.refunds) == (Decimal("47.00"), 0)
    assert await shop.free() == 3


async def test_an_order_for_more_than_there_is_is_cancelled(shop: Shop) -> None:
    """S1: the refusal comes back to the saga."""
    order = await shop.check_out(6)
    await shop.app.settled(PATIENCE)
    assert await shop.events("Order", order) == ["OrderCheckedOut", "OrderCancelled"]
    assert await shop.events("Payment", order) == []
    assert await shop.free() == 5


async def test_an_order_whose_payment_is_declined_is_cancelled(shop: Shop) -> None:
    shop.provider.manners = Manners(declines=1)
    order = await shop.check_out()
    await shop.app.settled(PATIENCE)
    assert await shop.events("Order", order) == CANCELLED
    assert await shop.events("Payment", order) == ["PaymentRequested", "PaymentDeclined"]
    assert shop.charges_for(order) == []
    assert await shop.free() == 5


async def test_an_order_that_is_not_paid_in_time_is_cancelled_and_late_money_goes_back(shop: Shop) -> None:
    """S2, S3: the provider is away for half an hour, and takes the money when it is back."""
    shop.provider.manners = Manners(fails=1)
    order = await shop.check_out()
    await until(lambda: shop.provider.requests > 0, PATIENCE)
    shop.clock.advance(timedelta(minutes=30))
    await shop.comes_to(order, CANCELLED)
    assert await shop.free() == 5
    shop.provider.manners = Manners()
    shop.clock.advance(timedelta(minutes=5))
    await shop.app.settled(PATIENCE)
    assert await shop.events("Payment", order) == [
        "PaymentRequested",
        "PaymentReceived",
        "RefundRequested",
        "PaymentRefunded",
    ]
    assert [charge.refunds for charge in shop.charges_for(order)] == [1]


async def test_an_order_may_be_cancelled_while_its_payment_is_under_way(shop: Shop) -> None:
    """S3"""
    shop.provider.manners = Manners(fails=1)
    order = await shop.check_out()
    await until(lambda: shop.provider.requests > 0, PATIENCE)
    await shop.app.commands.dispatch(CancelOrder(order_id=order, reason="second thoughts"))
    shop.provider.manners = Manners()
    await shop.app.settled(PATIENCE)
    assert await shop.events("Order", order) == CANCELLED
    assert (await shop.events("Payment", order))[-1] == "PaymentRefunded"
    assert [charge.refunds for charge in shop.charges_for(order)] == [1]


async def test_money_that_is_told_of_again_is_no_other_money(shop: Shop) -> None:
    """S1: the provider tells by itself, twice, beside its answer."""

    async def tell(payment: UUID, reference: str) -> None:
        await shop.app.commands.dispatch(RecordPayment(payment_id=payment, reference=reference))

    shop.provider.tell, shop.provider.manners = tell, Manners(repeats=1)
    order = await shop.check_out()
    await shop.app.settled(PATIENCE)
    assert await shop.events("Order", order) == SHIPPED
    assert await shop.events("Payment", order) == ["PaymentRequested", "PaymentReceived"]


async def test_a_charge_whose_answer_came_too_late_is_not_taken_twice() -> None:
    """S1: the client gives up, the provider has the money; the same key finds it again."""
    provider = FakeProvider(Manners(hangs=1))
    async with serving(make_provider(provider), 0) as port:
        url = f"http://{HOST}:{port}"
        async with asynccontextmanager(provider_at(url, timeout=0.1))() as hasty:
            while not provider.charges:
                with pytest.raises(httpx.TimeoutException):
                    await hasty.charge(TEAPOT, Decimal("5.00"), "one")
        provider.manners = Manners()
        async with asynccontextmanager(provider_at(url, timeout=PATIENCE))() as patient:
            assert await patient.charge(TEAPOT, Decimal("5.00"), "one") == Charged("ch_1")
    assert list(provider.charges) == ["ch_1"]
