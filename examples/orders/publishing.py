"""What other services are told of orders: a few facts, in a shape that stays whatever becomes of the events inside."""

from uuid import UUID

from pydantic import AwareDatetime

from diptych import Metadata
from diptych.reactions.messages import IntegrationEvent
from diptych.reactions.publication import Publication
from diptych.reactions.publisher import Publisher
from examples.orders.inventory import StockShipped
from examples.orders.orders import OrderCancelled, OrderCreated


class OrderPlaced(IntegrationEvent, name="order.placed"):
    """A customer ordered."""

    order_id: UUID
    customer_id: UUID
    placed_at: AwareDatetime
    street: str
    city: str
    postal_code: str
    country: str


class OrderCalledOff(IntegrationEvent, name="order.called_off"):
    """An order will not be shipped."""

    order_id: UUID
    reason: str


class GoodsShipped(IntegrationEvent, name="goods.shipped"):
    """So many of a product left the house for an order."""

    order_id: UUID
    product_id: UUID
    quantity: int


messages = Publication("order_messages", source="/orders")


@messages.event
def placed(event: OrderCreated, meta: Metadata) -> OrderPlaced:
    return OrderPlaced(
        order_id=meta.stream.id,
        customer_id=event.customer_id,
        placed_at=event.placed_at,
        **dict(event.shipping_address),
    )


@messages.event
def called_off(event: OrderCancelled, meta: Metadata) -> OrderCalledOff:
    return OrderCalledOff(order_id=meta.stream.id, reason=event.reason)


@messages.event
def shipped(event: StockShipped, meta: Metadata) -> GoodsShipped:
    return GoodsShipped(order_id=event.order_id, product_id=meta.stream.id, quantity=event.quantity)


def broker_at(url: str) -> Publisher:
    """Return what publishes to NATS JetStream, in a stream SHOP."""
    from diptych.reactions.nats import JetStream, NatsPublisher  # only who publishes needs the client

    return NatsPublisher(url, JetStream("SHOP", prefix="shop"))
