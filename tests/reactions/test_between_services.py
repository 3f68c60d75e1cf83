"""Two services and NATS between them: what one decides becomes a row of the other, once, whatever ends meanwhile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from uuid import UUID

import pytest

from diptych import Aggregate, App, Command, DomainEvent, Key, Metadata, Projection, ReadModel, Repository, new_id, on
from diptych.reactions.inbox import Inbox
from diptych.reactions.messages import IntegrationMessage
from diptych.reactions.nats import JetStream, NatsPublisher, NatsSource
from tests.nats_servers import NatsServer, one_server
from tests.reactions.test_publishing import PlacedForOthers, publication
from tests.sagas.shop import PlaceOrder, shop
from tests.waiting import until

pytestmark = pytest.mark.anyio

STREAM = JetStream("SHOP", "shop")


class Expected(DomainEvent):
    """A parcel will come."""

    pieces: int


class Parcel(Aggregate):
    """What the warehouse knows of an order."""

    def expect(self, pieces: int) -> None:
        """Note that it will come."""
        self.record(Expected(pieces=pieces))


class ExpectParcel(Command):
    """An order was placed elsewhere."""

    parcel_id: UUID
    pieces: int


class ParcelRow(ReadModel):
    """A parcel to come; `times` it was told of."""

    id: Annotated[UUID, Key]
    pieces: int
    times: int


class Parcels(Projection[ParcelRow]):
    """The parcels to come."""

    @on
    def expected(self, row: ParcelRow | None, event: Expected, meta: Metadata) -> ParcelRow:
        """Note it."""
        return ParcelRow(id=meta.stream.id, pieces=event.pieces, times=row.times + 1 if row else 1)


def warehouse(folder: Path, url: str) -> App:
    """The service that hears of orders."""
    app, orders = App(f"sqlite:///{folder}/warehouse.db"), Inbox("orders", NatsSource(url, "SHOP", durable="warehouse"))

    @orders.message
    def placed(event: PlacedForOthers, message: IntegrationMessage) -> ExpectParcel:
        return ExpectParcel(parcel_id=UUID(message.key), pieces=event.pieces)

    @app.command_handler
    async def expect(command: ExpectParcel, parcels: Repository[Parcel]) -> None:
        (await parcels.get_or_new(command.parcel_id)).expect(command.pieces)

    app.project(Parcels)
    app.consume(orders)
    return app


@pytest.fixture
def server() -> Iterator[NatsServer]:
    """The broker."""
    with one_server() as server:
        yield server


@pytest.mark.timeout(180)
async def test_what_one_decides_becomes_a_row_of_the_other(tmp_path: Path, server: NatsServer) -> None:
    """D1 to D3: the broker is killed in the middle, and the other service is not there at first."""
    seller = App(f"sqlite:///{tmp_path}/shop.db")
    seller.include(shop())
    seller.publish(publication(), NatsPublisher(server.url, STREAM, seconds=1.0))
    orders = [new_id() for _ in range(60)]
    async with seller:
        for order in orders[:20]:
            await seller.commands.dispatch(PlaceOrder(order_id=order, product_id=order, quantity=3))
        await seller.settled(20)
        server.kill()
        for order in orders[20:40]:  # D3: no command waits for the broker
            await seller.commands.dispatch(PlaceOrder(order_id=order, product_id=order, quantity=3))
        server.start()
        await seller.settled(30)
        async with warehouse(tmp_path, server.url) as other:
            for order in orders[40:]:
                await seller.commands.dispatch(PlaceOrder(order_id=order, product_id=order, quantity=3))
            await seller.settled(20)
            await arrived(other, 60)
    async with warehouse(tmp_path, server.url) as again:  # D2: what was acknowledged does not come again
        await again.caught_up()
        async with again.views.reader() as session:
            rows = await session.fetch("SELECT pieces, times FROM parcel_row", {})
    assert rows == [(3, 1)] * 60


async def arrived(app: App, count: int) -> None:
    """Wait for so many events."""
    await until(lambda: app.progress["parcels"].position >= count, 20)
