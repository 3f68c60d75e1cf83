"""Two services: what is ordered and shipped in one becomes parcels of the other, told in messages alone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import httpx
import pytest

from diptych import App, id_for, new_id
from diptych.reactions.messages import encode
from diptych.reactions.publisher import MemoryPublisher
from diptych.reactions.source import MemorySource
from examples.orders.customers import RegisterCustomer
from examples.orders.inventory import ReceiveStock, RegisterProduct
from examples.orders.main import make_app as make_shop
from examples.orders.orders import CreateOrder, OrderStatus, UpdateOrderStatus
from examples.orders.publishing import broker_at
from examples.orders.tests.conftest import item
from examples.orders.values import Address
from examples.warehouse.main import make_api, make_app
from examples.warehouse.receiving import nats_at
from tests.nats_servers import one_server
from tests.urls import url_for

pytestmark = pytest.mark.anyio

ADA, TEAPOT, MUG = (id_for("story", name) for name in ("ada", "teapot", "mug"))
HOME = Address(city="Leeds", country="United Kingdom")
PARCEL = {"country": "United Kingdom", "city": "Leeds", "pieces": 5}


async def sell(shop: App) -> UUID:
    """Have two things ordered and shipped."""
    order, dispatch = new_id(), shop.commands.dispatch
    await dispatch(RegisterCustomer(customer_id=ADA, name="Ada", address=HOME))
    for product in (TEAPOT, MUG):
        await dispatch(RegisterProduct(product_id=product, description="Something"))
        await dispatch(ReceiveStock(product_id=product, quantity=10))
    items = [item(TEAPOT, 2, "23.50"), item(MUG, 3, "6.95")]
    await dispatch(CreateOrder(order_id=order, customer_id=ADA, items=items, shipping_address=HOME))
    await dispatch(UpdateOrderStatus(order_id=order, status=OrderStatus.SHIPPED))
    return order


async def comes_to(app: App, order: UUID, wanted: dict[str, Any]) -> None:
    """Ask the warehouse until the parcel is so."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_api(app)), base_url="http://warehouse") as client:
        with anyio.fail_after(20):
            while (found := (await client.get(f"/parcels/{order}")).json()) != {"order_id": str(order), **wanted}:
                assert found.get("pieces", 0) <= wanted["pieces"], found
                await anyio.sleep(0.01)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def warehouse(request: pytest.FixtureRequest, tmp_path: Path, source: MemorySource) -> AsyncIterator[App]:
    """The second service, on each store."""
    async with make_app(url_for(request, tmp_path), source) as app:
        yield app


@pytest.fixture
def source() -> MemorySource:
    """Where it hears of orders."""
    return MemorySource()


async def test_messages_become_a_parcel_once_in_whatever_order_they_come(warehouse: App, source: MemorySource) -> None:
    """D2: all of it is told twice, the second time backwards."""
    told = MemoryPublisher()
    async with make_shop("memory:", broker=told) as shop:
        order = await sell(shop)
        await shop.settled(20)
    messages = [encode(message) for message in told.messages]
    for raw in [*messages, *reversed(messages)]:
        source.put(raw)
    await comes_to(warehouse, order, PARCEL)
    await warehouse.settled(20)
    assert source.acknowledged == 2 * len(messages)
    await comes_to(warehouse, order, PARCEL)


async def test_a_message_that_nobody_understands_stops_no_other(warehouse: App, source: MemorySource) -> None:
    told = MemoryPublisher()
    async with make_shop("memory:", broker=told) as shop:
        order = await sell(shop)
        await shop.settled(20)
    source.put(b"no message")
    for message in told.messages:
        source.put(encode(message))
    await comes_to(warehouse, order, PARCEL)


async def test_two_services_and_a_broker_between_them(tmp_path: Path) -> None:
    """D1, D2: over NATS; the warehouse begins later than the shop."""
    with one_server() as server:
        async with make_shop(f"sqlite:///{tmp_path}/shop.db", broker=broker_at(server.url)) as shop:
            order = await sell(shop)
            await shop.settled(20)
        async with make_app(f"sqlite:///{tmp_path}/warehouse.db", nats_at(server.url)) as app:
            await comes_to(app, order, PARCEL)
