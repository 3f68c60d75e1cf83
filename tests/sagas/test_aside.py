"""What a saga cannot take is put aside with all that follows of it; what was asked before goes on."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from diptych import App, Command, DomainEvent, Saga, new_id, on
from diptych.sagas.row import SagaRow
from diptych.store.batches import Load
from diptych.store.tables import Table
from diptych.stream import StreamName
from diptych.subscriptions.tasks import Task
from tests.sagas.shop import CancelOrder, OrderCancelled, OrderPaid, OrderPlaced, PayOrder, PlaceOrder, ShipOrder, shop
from tests.urls import url_for

pytestmark = pytest.mark.anyio

BUGS: set[str] = set()


class Slow(Command):
    """Takes a while."""

    order_id: UUID


class Buggy(Saga):
    """Has a bug in it, until it is mended."""

    seen: list[str] = []

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Begin with something slow."""
        self._note(event)
        self.dispatch(Slow(order_id=self.id))

    @on
    def paid(self, event: OrderPaid) -> None:
        """May fail."""
        if "paid" in BUGS:
            raise ZeroDivisionError("a bug")
        self._note(event)
        self.dispatch(ShipOrder(order_id=self.id))

    @on
    def cancelled(self, event: OrderCancelled) -> None:
        """Comes last."""
        self._note(event)
        self.complete()

    def _note(self, event: DomainEvent) -> None:
        self.seen = [*self.seen, type(event).__name__]


@pytest.mark.parametrize("store", ["memory", "sqlite", "postgres"])
async def test_what_was_asked_before_goes_on_and_what_follows_waits(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """S1: the command that was in flight is not lost; later events come after the failing one, in their order."""
    request.param = store
    app = App(url_for(request, tmp_path))
    app.include(shop())
    app.saga(Buggy)
    gate, done = asyncio.Event(), list[UUID]()

    @app.command_handler
    async def slow(command: Slow) -> None:
        await gate.wait()
        done.append(command.order_id)

    BUGS.add("paid")
    order = new_id()
    async with app:
        duty = app._started().duties.duties[0]
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await app.commands.dispatch(PayOrder(order_id=order))
        await _until_parked(app, duty.tasks, 1)
        gate.set()
        await app.commands.dispatch(CancelOrder(order_id=order, reason="enough"))
        await app.settled()
        assert done == [order]
        assert [row.status for row in await _sagas(app, duty.kept.tables[0], order)] == ["stuck"]
        assert [(one.name, bool(one.error)) for one in await _parked(app, duty.tasks)] == [
            ("OrderPaid", True),
            ("OrderCancelled", False),
        ]
        BUGS.clear()
        await app.events.inline.leases.ask("Buggy", "retry")
        await _until_parked(app, duty.tasks, 0)
        await app.settled()
        (row,) = await _sagas(app, duty.kept.tables[0], order)
        assert row.status == "completed"
        assert '"seen":["OrderPlaced","OrderPaid","OrderCancelled"]' in row.state
        names = [row.type for row in await app.events.read_stream(StreamName("", "Order", order))]
        assert names == ["OrderPlaced", "OrderPaid", "OrderCancelled", "OrderShipped"]


async def _until_parked(app: App, table: Table, count: int) -> None:
    async with asyncio.timeout(10):
        while len(await _parked(app, table)) != count:  # noqa: ASYNC110 - it is looked at, not told
            await asyncio.sleep(0.01)


async def _parked(app: App, table: Table) -> list[Task]:
    async with app.events.inline.reader() as session:
        columns = ", ".join(column.name for column in table.columns)
        rows = await session.fetch(f"SELECT {columns} FROM {table.name} WHERE state = 'parked' ORDER BY number", {})
        return session.decode(table, rows)


async def _sagas(app: App, table: Table, order: UUID) -> list[SagaRow]:
    return list((await app.events.inline.load(1, [Load(table, ("id",), [(order,)])]))[table.name])
