"""What a saga, a reaction and an inbox owe moves with the store from a file to a server, and is done there (S1, S2)."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from diptych import App, FixedClock, new_id
from diptych.app.known_duties import known_duties
from diptych.clock import Clock
from diptych.reactions.inbox import Inbox
from diptych.reactions.messages import IntegrationEvent
from diptych.reactions.source import MemorySource
from diptych.store.copying import StoreCopy, copy
from diptych.stream import StreamName
from tests.cli.fulfilling import poisoned, service
from tests.sagas.shop import AddStock, PayOrder, PlaceOrder, shop
from tests.waiting import until

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


class Received(IntegrationEvent, name="bank.received"):
    pass


async def test_what_is_put_aside_while_the_store_is_copied_is_not_left_behind(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I2: a message that was put aside is acknowledged, and its broker has it no more."""
    source, bank = f"sqlite:///{tmp_path}/shop.db", MemorySource()
    compare = StoreCopy._compare_streams

    def service(url: str) -> App:
        app, inbox = App(url, mode="development"), Inbox("bank", bank)

        @inbox.message
        def received(event: Received) -> PayOrder | None:
            return None

        app.include(shop())
        app.consume(inbox)
        return app

    async def meanwhile(self: StoreCopy, checked: int) -> Any:
        if not bank.acknowledged:
            bank.put(b"rubbish")
            await until(lambda: bank.acknowledged)
        return await compare(self, checked)

    monkeypatch.setattr(StoreCopy, "_compare_streams", meanwhile)
    async with service(source) as old:
        await old.commands.dispatch(AddStock(product_id=new_id(), quantity=5))
        moved = await copy(source, postgres_url, [one.kept for one in known_duties(old.everything(), [])], _silent)
    assert moved.left_out == []
    async with service(postgres_url) as new:
        (status,) = [one for one in (await new.status()).duties if one.name == "bank"]
        assert status.parked == 1


def _silent(what: str, done: int, total: int) -> None:
    pass
