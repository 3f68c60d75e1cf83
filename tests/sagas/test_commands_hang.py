"""A command of a saga that hangs is stopped, and has failed; one that commits all the same has taken effect once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from diptych import App, Command, Saga, new_id, on
from diptych.sagas.row import saga_table
from diptych.store.protocols import Append, Appended
from diptych.stream import StreamName
from tests.sagas.faults import Append_, is_sent, on_append, rows
from tests.sagas.shop import OrderPlaced, PayOrder, PlaceOrder, shop
from tests.urls import url_for

pytestmark = pytest.mark.anyio


class Tell(Command):
    """What a saga sends."""

    order_id: UUID


class Telling(Saga):
    """Tells of an order, and pays it."""

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        self.dispatch(Tell(order_id=self.id))
        self.dispatch(PayOrder(order_id=self.id))
        self.complete()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a command that takes longer than a moment hang, twice."""
    monkeypatch.setattr("diptych.sagas.running._HANGS", 0.1)
    monkeypatch.setattr("diptych.sagas.running._ATTEMPTS", 2)


@pytest.fixture
def hangs() -> list[int]:
    """How often the handler of `Tell` hangs yet."""
    return [0]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def app(request: pytest.FixtureRequest, tmp_path: Path, hangs: list[int]) -> AsyncIterator[App]:
    """The shop, with a saga."""
    app = App(url_for(request, tmp_path))
    app.include(shop())
    app.saga(Telling)

    @app.command_handler
    async def tell(command: Tell) -> None:
        if hangs[0]:
            hangs[0] -= 1
            await asyncio.Event().wait()

    async with app:
        yield app


async def place(app: App) -> UUID:
    """Place an order, and wait for what follows."""
    order = new_id()
    await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
    await app.settled(10)
    return order


async def events_of(app: App, order: UUID) -> list[str]:
    """What became of an order."""
    return [row.type for row in await app.events.read_stream(StreamName("", "Order", order))]


async def test_one_that_hangs_once_is_tried_again(app: App, hangs: list[int]) -> None:
    hangs[0] = 1
    assert await events_of(app, await place(app)) == ["OrderPlaced", "OrderPaid"]
    assert [one.status for one in await rows(app, saga_table("Telling"))] == ["completed"]


async def test_one_that_goes_on_hanging_makes_its_saga_stuck_and_no_other(app: App, hangs: list[int]) -> None:
    """P7: what follows of its saga waits, others go on."""
    hangs[0] = 2
    first = await place(app)
    assert await events_of(app, first) == ["OrderPlaced"]
    (stuck,) = await rows(app, saga_table("Telling"))
    assert (stuck.status, stuck.error) == ("stuck", "TimeoutError: it ran for more than 0.1 s, and was stopped")
    assert await events_of(app, await place(app)) == ["OrderPlaced", "OrderPaid"]
    await app.events.inline.leases.ask("Telling", "retry")
    async with asyncio.timeout(10):
        while await events_of(app, first) != ["OrderPlaced", "OrderPaid"]:  # noqa: ASYNC110 - it is looked at
            await asyncio.sleep(0.01)


async def test_an_append_that_commits_after_its_command_was_stopped_takes_effect_once(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S1: it was sent, and its answer came late; another try finds it done, or waits for the same row."""
    sent: list[Append] = []

    async def late(one: Append, append: Append_) -> Appended:
        if is_sent(one, "PayOrder"):
            sent.append(one)
            if len(sent) == 1:
                await asyncio.sleep(0.2)  # what is sent goes on, whoever was told to stop
        return await append(one)

    on_append(app, monkeypatch, late)
    assert await events_of(app, await place(app)) == ["OrderPlaced", "OrderPaid"]
    assert sent
    assert [one.status for one in await rows(app, saga_table("Telling"))] == ["completed"]
