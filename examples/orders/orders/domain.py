"""An order: decides what may still be done to it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final, NamedTuple, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from diptych import Aggregate, DomainError, on
from examples.orders.orders import events
from examples.orders.orders.events import OrderStatus
from examples.orders.values import Address, Price, Quantity

MOST_LINES: Final = 900  # shipping records one event for each product, and a commit holds at most 1,000

_OPEN: Final = (OrderStatus.PENDING, OrderStatus.CONFIRMED)
_NEXT: Final = {
    OrderStatus.PENDING: (OrderStatus.CONFIRMED, OrderStatus.SHIPPED),
    OrderStatus.CONFIRMED: (OrderStatus.SHIPPED,),
    OrderStatus.SHIPPED: (OrderStatus.DELIVERED,),
}


class OrderItem(BaseModel):
    """So many of a product, at the price agreed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product_id: UUID
    quantity: Quantity
    unit_price: Price


class EmptyOrderError(DomainError):
    """An order has at least one item."""


class InvalidOperationError(DomainError):
    """The order is in no state for this."""


class Share(NamedTuple):
    """How much of one product an order holds, and what it pays for it."""

    quantity: int
    value: Decimal


class Order(Aggregate):
    """What a customer wants, and how far it is."""

    status: OrderStatus = OrderStatus.PENDING
    customer_id: UUID
    placed_on: date
    lines: dict[int, OrderItem] = {}
    last_line: int = 0
    total: Decimal = Decimal(0)

    @classmethod
    def create(
        cls, order_id: UUID, customer_id: UUID, items: Sequence[OrderItem], shipping_address: Address, at: datetime
    ) -> Self:
        """Place an order."""
        if not items:
            raise EmptyOrderError(f"Order {order_id} has no items. Add one.")
        order = cls(order_id)
        order.record(events.OrderCreated(customer_id=customer_id, shipping_address=shipping_address, placed_at=at))
        for item in items:
            order.add_item(item)
        return order

    def add_item(self, item: OrderItem) -> int:
        """Add a line and return its number."""
        self._must_be_open("add items to")
        if len(self.lines) >= MOST_LINES:
            raise InvalidOperationError(f"Order {self.id} has {MOST_LINES} lines, the most there can be.")
        self.record(
            events.OrderItemAdded(
                line=self.last_line + 1, customer_id=self.customer_id, placed_on=self.placed_on, **dict(item)
            )
        )
        return self.last_line

    def remove_item(self, line: int) -> OrderItem:
        """Take a line off and return what was on it."""
        self._must_be_open("remove items from")
        item = self.lines.get(line)
        if item is None:
            raise InvalidOperationError(f"Order {self.id} has no line {line}.")
        if len(self.lines) == 1:
            raise EmptyOrderError(f"Line {line} is the last of order {self.id}. Cancel the order instead.")
        self.record(
            events.OrderItemRemoved(line=line, customer_id=self.customer_id, placed_on=self.placed_on, **dict(item))
        )
        return item

    def change_address(self, address: Address) -> None:
        """Send the goods elsewhere."""
        self._must_be_open("change the address of")
        self.record(events.ShippingAddressChanged(shipping_address=address))

    def move_to(self, status: OrderStatus) -> None:
        """Confirm a pending order, ship one that was not cancelled, or note that a shipped one was delivered."""
        if status not in _NEXT.get(self.status, ()):
            raise InvalidOperationError(f"Cannot move a {self.status.value} order to {status.value}")
        self.record(events.OrderStatusChanged(status=status))

    def cancel(self, reason: str) -> None:
        """Call the order off."""
        self._must_be_open("cancel")
        self.record(
            events.OrderCancelled(
                reason=reason, customer_id=self.customer_id, placed_on=self.placed_on, total_amount=self.total
            )
        )

    def by_product(self) -> list[tuple[UUID, Share]]:
        """What the order holds of each product, sorted, so that orders for the same goods queue up in one order."""
        shares: dict[UUID, Share] = {}
        for item in self.lines.values():
            quantity, value = shares.get(item.product_id, (0, Decimal(0)))
            shares[item.product_id] = Share(quantity + item.quantity, value + item.quantity * item.unit_price)
        return sorted(shares.items())

    def _must_be_open(self, verb: str) -> None:
        if self.status not in _OPEN:
            raise InvalidOperationError(f"Cannot {verb} a {self.status.value} order")

    @on
    def _created(self, event: events.OrderCreated) -> None:
        self.customer_id = event.customer_id
        self.placed_on = event.placed_at.astimezone(UTC).date()

    @on
    def _item_added(self, event: events.OrderItemAdded) -> None:
        self.lines[event.line] = OrderItem.model_construct(
            product_id=event.product_id, quantity=event.quantity, unit_price=event.unit_price
        )
        self.last_line = event.line
        self.total += event.amount

    @on
    def _item_removed(self, event: events.OrderItemRemoved) -> None:
        del self.lines[event.line]
        self.total -= event.amount

    @on
    def _moved(self, event: events.OrderStatusChanged) -> None:
        self.status = event.status

    @on
    def _cancelled(self, event: events.OrderCancelled) -> None:
        self.status = OrderStatus.CANCELLED
