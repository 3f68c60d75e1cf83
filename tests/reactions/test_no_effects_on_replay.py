"""P9: building rows again, or starting again, causes no command, no reaction and no message."""

from collections import Counter
from pathlib import Path
from typing import Annotated
from uuid import UUID

import pytest

from diptych import App, Command, Key, Projection, ReadModel, new_id, on
from diptych.messages import Metadata
from diptych.projections.backfill import Subject
from diptych.projections.rebuilding import Rebuild, build_here
from diptych.reactions.publisher import MemoryPublisher
from diptych.write.bus import Dispatch
from tests.projections.rebuilds import PACE, Decided
from tests.reactions.test_publishing import publication
from tests.sagas.shop import AddStock, Fulfilment, OrderPlaced, OrderShipped, PayOrder, PlaceOrder, shop
from tests.urls import url_for

pytestmark = pytest.mark.anyio


class OrderRow(ReadModel):
    """An order."""

    id: Annotated[UUID, Key]
    status: str


class OrderRows(Projection[OrderRow]):
    """All orders."""

    @on
    def placed(self, event: OrderPlaced, meta: Metadata) -> OrderRow:
        """A new one."""
        return OrderRow(id=meta.stream.id, status="placed")

    @on
    def shipped(self, event: OrderShipped, row: OrderRow) -> OrderRow:
        """It went out."""
        return row.model_copy(update={"status": "shipped"})


class Edges:
    """Counts whatever goes out of an app: commands, by type, reactions and messages."""

    def __init__(self, url: str) -> None:
        self.seen: Counter[str] = Counter()
        self.broker = MemoryPublisher()
        self.app = App(url)
        self.app.include(shop())
        self.app.saga(Fulfilment)
        self.app.project(OrderRows)
        self.app.publish(publication(), self.broker)
        self.app.middleware(self._counted)

        @self.app.reaction(begins="beginning")
        async def send_receipt(event: OrderPlaced | OrderShipped) -> None:
            self.seen[f"receipt of {type(event).__name__}"] += 1

    def _counted(self, next: Dispatch) -> Dispatch:
        async def count(command: Command) -> object:
            self.seen[type(command).__name__] += 1
            return await next(command)

        return count  # type: ignore[return-value]

    @property
    def all(self) -> Counter[str]:
        """What went out."""
        return self.seen + Counter(messages=self.broker.published)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that is there after a restart."""
    return url_for(request, tmp_path)


async def test_neither_a_rebuild_nor_a_restart_does_anything_outside(url: str) -> None:
    """P9"""
    edges, product = Edges(url), new_id()
    async with edges.app as app:
        await app.commands.dispatch(AddStock(product_id=product, quantity=10))
        for _ in range(5):
            order = new_id()
            await app.commands.dispatch(PlaceOrder(order_id=order, product_id=product, quantity=1))
            await app.commands.dispatch(PayOrder(order_id=order))
        await app.settled()
        await app.caught_up()
        before, head = edges.all, (await app.events.head()).position
        assert before["ReserveStock"] == before["ShipOrder"] == before["receipt of OrderShipped"] == 5
        assert before["messages"] > 0
        subject = Subject(app.definitions[0], app.events, app.views, app.codec, PACE)
        await Rebuild(subject, build_here(subject), lambda *_: None).run(Decided(), compares=True)
        await app.settled()
        assert edges.all == before
    async with edges.app as app:
        await app.settled()
        assert edges.all == before
        assert (await app.events.head()).position == head
