"""What the warehouse hears of orders, as it reads it: what it needs of each message, whatever else is in it."""

from uuid import UUID

from pydantic import ConfigDict

from diptych.reactions.inbox import Inbox
from diptych.reactions.messages import IntegrationEvent
from diptych.reactions.source import Source
from examples.warehouse.parcels import AddressParcel, Destination, PackGoods


class Heard(IntegrationEvent):
    """A message of another service, which may say more one day."""

    model_config = ConfigDict(extra="ignore")


class OrderPlaced(Heard, name="order.placed"):
    """A customer ordered."""

    order_id: UUID
    street: str
    city: str
    postal_code: str
    country: str


class GoodsShipped(Heard, name="goods.shipped"):
    """So many of a product are for the parcel of an order."""

    order_id: UUID
    product_id: UUID
    quantity: int


def inbox(source: Source) -> Inbox:
    """Return what takes the messages of this source. One that comes again leads to the same command, and to nothing."""
    orders = Inbox("orders", source)

    @orders.message
    def placed(event: OrderPlaced) -> AddressParcel:
        return AddressParcel(order_id=event.order_id, destination=Destination(**event.model_dump(exclude={"order_id"})))

    @orders.message
    def shipped(event: GoodsShipped) -> PackGoods:
        return PackGoods(**dict(event))

    return orders


def nats_at(url: str) -> Source:
    """Return the messages of the stream SHOP, of which the broker remembers what the warehouse has."""
    from diptych.reactions.nats import NatsSource  # only who listens needs the client

    return NatsSource(url, "SHOP", durable="warehouse")
