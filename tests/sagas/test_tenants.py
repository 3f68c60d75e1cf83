"""Two tenants' events with one key are two sagas, on every store: nothing of one is taken or sent by the other's."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from diptych import App, Command, CommandBus, FixedClock, IdempotencyKey, Metadata, Saga, Steps, new_id, on, step
from diptych.messages import Envelope, with_envelope
from diptych.sagas.row import id_of_row, id_of_saga, saga_table
from diptych.stream import StreamName
from tests.sagas.faults import rows
from tests.sagas.shop import (
    AddStock,
    OrderPaid,
    OrderPlaced,
    PayOrder,
    PlaceOrder,
    ShipOrder,
    shop_app,
)
from tests.urls import url_for

pytestmark = pytest.mark.anyio

TENANTS = ("", "acme", "a/b", "a%2Fb")
ORDER, PRODUCT = new_id(), new_id()


class Tally(Saga):
    """One for each quantity: a key that tenants share, or that says what another tenant's full key is."""

    count: int = 0

    @on(starts=True, key=lambda event, meta: "tenant:acme/7" if event.quantity == 8 else str(event.quantity))
    def placed(self, event: OrderPlaced) -> None:
        """Count."""
        self.count += 1


class Charging(Steps):
    """Calls somebody outside."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None: ...

    @step
    async def charge(self, bank: dict[str, str], key: IdempotencyKey) -> None:
        """Take the money, once for each key."""
        bank[key] = self.key


async def send(app: App, tenant: str, command: Command[Any]) -> None:
    """Dispatch a command of a tenant, as an inbox does."""
    await app.commands._routes.dispatch(with_envelope(command, Envelope(None, tenant=tenant), is_first=True))


async def place(app: App, tenant: str, quantity: int = 1) -> None:
    """Order, under an id that is the same for all tenants."""
    await send(app, tenant, AddStock(product_id=PRODUCT, quantity=quantity))
    await send(app, tenant, PlaceOrder(order_id=ORDER, product_id=PRODUCT, quantity=quantity))


async def types(app: App, tenant: str, category: str) -> list[str]:
    """What is in a tenant's stream."""
    return [row.type for row in await app.events.read_stream(StreamName(tenant, category, ORDER))]


@pytest.fixture
def clock() -> FixedClock:
    """A clock that the tests move."""
    return FixedClock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def app(request: pytest.FixtureRequest, tmp_path: Path, clock: FixedClock) -> AsyncIterator[App]:
    """The shop, with sagas whose keys tenants share."""
    app = shop_app(url_for(request, tmp_path), clock)
    app.saga(Tally)
    app.saga(Charging)
    app.provide(dict[str, str], BANK)
    BANK.clear()
    async with app:
        yield app


BANK: dict[str, str] = {}


async def test_each_tenant_has_a_saga_and_timers_of_its_own(app: App, clock: FixedClock) -> None:
    """S1, S2: the second tenant's order was taken by the first one's saga, and its stock never reserved."""
    for tenant in TENANTS:
        await place(app, tenant)
    await app.settled()
    await send(app, "acme", PayOrder(order_id=ORDER))
    await app.settled()
    clock.advance(timedelta(minutes=30))
    await app.settled()
    found = {row.tenant: row for row in await rows(app, saga_table("Fulfilment"))}
    assert {tenant: row.status for tenant, row in found.items()} == dict.fromkeys(TENANTS, "completed")
    assert {row.key for row in found.values()} == {str(ORDER)}
    for tenant in TENANTS:
        then = ["OrderPaid", "OrderShipped"] if tenant == "acme" else ["OrderCancelled"]
        assert await types(app, tenant, "Order") == ["OrderPlaced", *then]
        assert len(await types(app, tenant, "Fulfilment")) == 4


async def test_no_key_is_that_of_another_tenant(app: App) -> None:
    """S1: whatever it says."""
    await place(app, "acme", 7)
    await place(app, "", 8)
    await app.settled()
    found = {(row.tenant, row.key): row.state for row in await rows(app, saga_table("Tally"))}
    assert found == {("acme", "7"): '{"count":1}', ("", "tenant:acme/7"): '{"count":1}'}


async def test_calls_of_two_tenants_have_two_keys(app: App) -> None:
    """S1: who is called would have taken the second for a repetition of the first."""
    for tenant in TENANTS:
        await place(app, tenant)
    await app.settled()
    assert list(BANK.values()) == [str(ORDER)] * len(TENANTS)


def test_ids_without_a_tenant_are_those_of_the_key() -> None:
    """A saga is found by what it is about."""
    assert id_of_row("Fulfilment", str(ORDER)) == id_of_saga("Fulfilment", str(ORDER)) == ORDER
    assert id_of_row("Tally", "7") == id_of_saga("Tally", "7")
    assert id_of_row("Tally", "tenant:acme/7") != id_of_row("Tally", "tenant:/tenant:acme/7")


async def test_what_a_reaction_dispatches_is_of_the_events_tenant() -> None:
    """It was of none, and shipped another's order. What is put aside of one tenant holds up no other (P7)."""
    app = shop_app("memory:", saga=Tally)
    failed = set[str]()

    @app.reaction(attempts=1)
    async def ship(event: OrderPaid, meta: Metadata, bus: CommandBus, key: IdempotencyKey) -> None:
        if meta.stream.tenant == "acme" and not failed:
            failed.add("acme")
            raise ValueError("poison")
        await bus.dispatch(ShipOrder(order_id=meta.stream.id), command_id=key.id)

    async with app:
        for tenant in TENANTS:
            await place(app, tenant)
            await send(app, tenant, PayOrder(order_id=ORDER))
            await app.settled()
        for tenant in TENANTS:
            then = [] if tenant == "acme" else ["OrderShipped"]
            assert await types(app, tenant, "Order") == ["OrderPlaced", "OrderPaid", *then]
        assert [one.parked for one in (await app.status()).duties] == [0, 1]
