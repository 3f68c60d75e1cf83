"""What happens to an order. The order is created first, then its items follow in the same commit.

Each event carries what its readers need, so that none of them has to look an order up to count it.
"""

from datetime import date
from decimal import Decimal
from enum import Enum
from uuid import UUID

from pydantic import AwareDatetime

from diptych import DomainEvent
from examples.orders.values import Address


class OrderStatus(Enum):
    """Where an order is on its way."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


class OrderCreated(DomainEvent):
    """A customer placed an order; its items follow."""

    customer_id: UUID
    shipping_address: Address
    placed_at: AwareDatetime


class _Item(DomainEvent):
    line: int
    product_id: UUID
    quantity: int
    unit_price: Decimal
    customer_id: UUID
    placed_on: date  # the day, in UTC, the order was placed

    @property
    def amount(self) -> Decimal:
        """What the line costs."""
        return self.quantity * self.unit_price


class OrderItemAdded(_Item):
    """An item is part of the order, on a line of its own."""


class OrderItemRemoved(_Item):
    """A line was taken off the order again."""


class ShippingAddressChanged(DomainEvent):
    """The goods go elsewhere."""

    shipping_address: Address


class OrderStatusChanged(DomainEvent):
    """The order moved on: it is confirmed, shipped or delivered."""

    status: OrderStatus


class OrderCancelled(DomainEvent):
    """The order is off; its goods were released in the same commit."""

    reason: str
    customer_id: UUID
    placed_on: date
    total_amount: Decimal
