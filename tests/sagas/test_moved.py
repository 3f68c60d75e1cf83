"""What a saga and a reaction owe moves with the store from a file to a server, and is done there (S1, S2)."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from diptych import FixedClock, new_id
from diptych.app.known_duties import known_duties
from diptych.clock import Clock
from diptych.store.copying import copy
from diptych.stream import StreamName
from tests.cli.fulfilling import poisoned, service
from tests.sagas.shop import AddStock, PlaceOrder

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def test_a_running_saga_a_timer_and_a_parked_task_go_on_in_the_new_store(
    tmp_path: Path, postgres_url: str
) -> None:
    source, clock = f"sqlite:///{tmp_path}/shop.db", FixedClock()
    poisoned.clear()
    poisoned.add("receipt")
    order, product = new_id(), new_id()
    old = service(source)
    old.provide(Clock, clock)
    async with old:
        await old.commands.dispatch(AddStock(product_id=product, quantity=5))
        await old.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=2))
        await old.settled()
    kept = [one.kept for one in known_duties(old.everything(), [])]
    moved = await copy(source, postgres_url, kept, lambda what, done, total: None)
    assert moved.left_out == []
    poisoned.clear()
    new = service(postgres_url)
    new.provide(Clock, clock)
    async with new:
        await new.settled()
        status = {one.name: one for one in (await new.status()).duties}
        assert (status["Fulfilment"].timers, status["send_receipt"].parked) == (1, 1)
        await new.events.inline.leases.ask("send_receipt", "retry")
        async with asyncio.timeout(10):
            while (await new.status()).duties[1].parked:
                await new.settled()
        clock.advance(timedelta(minutes=30))
        await new.settled()
        names = [row.type for row in await new.events.read_stream(StreamName("", "Order", order))]
        assert names == ["OrderPlaced", "OrderCancelled"]
