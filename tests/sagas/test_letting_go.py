"""A lane that is let go of in the middle of a turn: what was read and not written down is read again."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from diptych import Command, DomainError, Rejected, Saga, new_id, on
from diptych.sagas.row import saga_table
from diptych.sagas.running import SagaDuty
from diptych.store.protocols import Append, Appended
from diptych.stream import StreamName
from diptych.subscriptions.spreading import Share
from tests.sagas.faults import Append_, is_turn, on_append, rows
from tests.sagas.shop import AddStock, OrderPlaced, PlaceOrder, shop_app
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that outlives an app."""
    return url_for(request, tmp_path)


class Ask(Command):
    """Ask about an order."""

    order_id: UUID


class NotNowError(DomainError):
    """They do not want to be asked."""


class Noting(Saga):
    """Asks, and notes each refusal that it hears of."""

    heard: list[str] = []

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Ask."""
        self.dispatch(Ask(order_id=self.id))

    @on
    def refused(self, rejection: Rejected[Ask]) -> None:
        """Note it."""
        self.heard = [*self.heard, "no"]


async def test_what_was_taken_in_by_a_turn_that_was_cut_short_is_taken_in_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S1: the lane is let go of while the turn is being written, and that turn is stored all the same."""
    app, tried, is_writing, goes_on = shop_app("memory:", saga=Noting), list[UUID](), asyncio.Event(), asyncio.Event()

    @app.command_handler
    async def ask(command: Ask) -> None:
        tried.append(command.order_id)
        raise NotNowError("not now")

    async def slow(one: Append, append: Append_) -> Appended:
        if is_turn(one) and tried and one.beside is not None and one.beside.changes and not is_writing.is_set():
            is_writing.set()
            await goes_on.wait()
        return await append(one)

    async with app:
        on_append(app, monkeypatch, slow)
        (keeper,) = app._started().duties.keepers
        await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        await is_writing.wait()
        keeper.share(Share())
        await asyncio.sleep(0)
        goes_on.set()
        await until(lambda: not keeper._running)
        await app.settled()
        (saga,) = await rows(app, saga_table("Noting"))
        assert saga.state == '{"heard":["no"]}'
        assert len(tried) == 1


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
