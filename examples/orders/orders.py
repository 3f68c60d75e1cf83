"""Orders: placed, changed while they are here, confirmed, shipped and delivered, or called off.

Goods are reserved, released and shipped in the same commit as the order's own events: one `Stock` for each product.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, ClassVar, Final, Self
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, Field

from diptych import Aggregate, Command, DomainError, DomainEvent, Module, Repository, new_id, on
from diptych.web import from_path, locate
from examples.orders.caller import Commands, Route
from examples.orders.customers import Customer
from examples.orders.inventory import Stock
from examples.orders.values import Address, OrderItem, RequiredText, business_time

MOST_ITEMS: Final = 499  # two events for each, and a commit holds at most 1,000; more follow with AddOrderItem
MOST_LINES: Final = 900  # shipping records one event for each, in one commit

module, router = Module("orders"), APIRouter(prefix="/orders", tags=["orders"], route_class=Route)


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


class Line(DomainEvent):
    """So many of a product, at the price agreed, for a customer: what events about a line have in common."""

    line: int
    product_id: UUID
    quantity: int
    unit_price: Decimal
    customer_id: UUID

    @property
    def amount(self) -> Decimal:
        return self.quantity * self.unit_price


class OrderItemAdded(Line):
    """An item is part of the order, on a line of its own."""

    placed_on: date  # the day, in UTC, the order was placed


class OrderItemRemoved(Line):
    """A line was taken off the order again."""

    placed_on: date

    @property
    def amount(self) -> Decimal:
        return -super().amount


class ShippingAddressChanged(DomainEvent):
    """The goods go elsewhere."""

    shipping_address: Address


class OrderCheckedOut(DomainEvent):
    """The customer pays before anything is shipped; the goods are still to be set aside."""

    customer_id: UUID
    total_amount: Decimal


class GoodsSetAside(DomainEvent):
    """All goods of an order that was checked out were set aside, in the same commit."""


class OrderStatusChanged(DomainEvent):
    """The order moved on: it is confirmed, shipped or delivered."""

    status: OrderStatus


class OrderCancelled(DomainEvent):
    """The order is off; its goods were released in the same commit."""

    status: ClassVar[OrderStatus] = OrderStatus.CANCELLED
    reason: str
    customer_id: UUID
    placed_on: date
    total_amount: Decimal

    @property
    def amount(self) -> Decimal:
        return -self.total_amount


_OPEN: Final = (OrderStatus.PENDING, OrderStatus.CONFIRMED)
_NEXT: Final = {
    OrderStatus.PENDING: (OrderStatus.CONFIRMED, OrderStatus.SHIPPED),
    OrderStatus.CONFIRMED: (OrderStatus.SHIPPED,),
    OrderStatus.SHIPPED: (OrderStatus.DELIVERED,),
}


class EmptyOrderError(DomainError):
    """An order has at least one item."""


class InvalidOperationError(DomainError):
    """The order is in no state for this."""


class Order(Aggregate):
    """What a customer wants, and how far it is."""

    status: OrderStatus = OrderStatus.PENDING
    customer_id: UUID
    placed_on: date
    lines: dict[int, OrderItemAdded] = {}
    last_line: int = 0
    is_prepaid: bool = False
    has_goods: bool = True

    @classmethod
    def create(
        cls, order_id: UUID, customer_id: UUID, items: Sequence[OrderItem], shipping_address: Address, at: datetime
    ) -> Self:
        """Place an order."""
        if not items:
            raise EmptyOrderError(f"Order {order_id} has no items. Add one.")
        order = cls(order_id)
        order.record(OrderCreated(customer_id=customer_id, shipping_address=shipping_address, placed_at=at))
        for item in items:
            order.add_item(item)
        return order

    def add_item(self, item: OrderItem) -> int:
        """Add a line and return its number."""
        self._may_be_changed("add items to")
        if len(self.lines) >= MOST_LINES:
            raise InvalidOperationError(f"Order {self.id} has {MOST_LINES} lines, the most there can be.")
        self.record(
            OrderItemAdded(
                line=self.last_line + 1, customer_id=self.customer_id, placed_on=self.placed_on, **dict(item)
            )
        )
        return self.last_line

    def remove_item(self, line: int) -> OrderItemAdded:
        """Take a line off and return what was on it."""
        self._may_be_changed("remove items from")
        if line not in self.lines:
            raise InvalidOperationError(f"Order {self.id} has no line {line}.")
        if len(self.lines) == 1:
            raise EmptyOrderError(f"Line {line} is the last of order {self.id}. Cancel the order instead.")
        item = self.lines[line]
        self.record(OrderItemRemoved(**dict(item)))
        return item

    def check_out(self) -> None:
        """Fix what is to be paid before anything is shipped."""
        self.record(OrderCheckedOut(customer_id=self.customer_id, total_amount=self.total()))

    def set_goods_aside(self) -> list[OrderItemAdded]:
        """Return the lines to set aside: none if they are."""
        self._must_be_open("set goods aside for")
        if self.has_goods:
            return []
        self.record(GoodsSetAside())
        return self.goods()

    def ship_paid(self) -> list[OrderItemAdded]:
        """Return the lines to ship: none if they were."""
        if self.status in (OrderStatus.SHIPPED, OrderStatus.DELIVERED):
            return []
        self._must_be_open("ship")
        if not self.has_goods:
            raise InvalidOperationError(f"The goods of order {self.id} were not set aside.")
        self.record(OrderStatusChanged(status=OrderStatus.SHIPPED))
        return self.goods()

    def change_address(self, address: Address) -> None:
        """Send the goods elsewhere."""
        self._must_be_open("change the address of")
        self.record(ShippingAddressChanged(shipping_address=address))

    def move_to(self, status: OrderStatus) -> None:
        """Confirm a pending order, ship one that was not cancelled, or note that a shipped one was delivered."""
        if self.is_prepaid and status is not OrderStatus.DELIVERED:
            raise InvalidOperationError(f"Order {self.id} is shipped when it is paid.")
        if status not in _NEXT.get(self.status, ()):
            raise InvalidOperationError(f"Cannot move a {self.status.value} order to {status.value}")
        self.record(OrderStatusChanged(status=status))

    def cancel(self, reason: str) -> None:
        """Call the order off."""
        self._must_be_open("cancel")
        total, placed_on = self.total(), self.placed_on
        self.record(
            OrderCancelled(reason=reason, customer_id=self.customer_id, placed_on=placed_on, total_amount=total)
        )

    def total(self) -> Decimal:
        """What the order comes to."""
        return sum((item.amount for item in self.lines.values()), Decimal(0))

    def goods(self) -> list[OrderItemAdded]:
        """The lines by product, so that two orders for the same goods reach for them in the same order."""
        return sorted(self.lines.values(), key=lambda line: line.product_id)

    def _may_be_changed(self, verb: str) -> None:
        self._must_be_open(verb)
        if self.is_prepaid:
            raise InvalidOperationError(f"Cannot {verb} an order that was checked out. Cancel it, and order again.")

    def _must_be_open(self, verb: str) -> None:
        if self.status not in _OPEN:
            raise InvalidOperationError(f"Cannot {verb} a {self.status.value} order")

    @on
    def _created(self, event: OrderCreated) -> None:
        self.customer_id = event.customer_id
        self.placed_on = event.placed_at.astimezone(UTC).date()

    @on
    def _item_added(self, event: OrderItemAdded) -> None:
        self.lines[event.line] = event
        self.last_line = event.line

    @on
    def _item_removed(self, event: OrderItemRemoved) -> None:
        del self.lines[event.line]

    @on
    def _checked_out(self, event: OrderCheckedOut) -> None:
        self.is_prepaid, self.has_goods = True, False

    @on
    def _set_aside(self, event: GoodsSetAside) -> None:
        self.has_goods = True

    @on
    def _moved(self, event: OrderStatusChanged | OrderCancelled) -> None:
        self.status = event.status


class CreateOrder(Command[UUID]):
    """Place an order. Returns its id, which the caller may choose.

    `placed_at` is for orders taken elsewhere and entered later.
    """

    order_id: UUID = Field(default_factory=new_id)
    customer_id: UUID
    items: Annotated[list[OrderItem], Field(min_length=1, max_length=MOST_ITEMS)]
    shipping_address: Address
    placed_at: AwareDatetime | None = None


@router.post("", status_code=201)
async def create_order(command: CreateOrder, commands: Commands, request: Request) -> dict[str, UUID]:
    """Place an order; its goods are set aside at once, or it is refused."""
    receipt = await commands.dispatch(command)
    locate(request, "get_order_by_id", order_id=receipt.result)
    return {"order_id": receipt.result}


class AddOrderItem(Command[int]):
    """Add an item to an order that has not left yet. Returns the number of its line."""

    order_id: UUID
    item: OrderItem


@router.post("/{order_id}/items", status_code=201)
async def add_item(
    command: Annotated[AddOrderItem, from_path(AddOrderItem, "order_id")], commands: Commands
) -> dict[str, int]:
    """Add an item to an order that has not left yet."""
    receipt = await commands.dispatch(command)
    return {"line": receipt.result}


@router.delete("/{order_id}/items/{line}")
class RemoveOrderItem(Command):
    """Take a line off an order that has not left yet."""

    order_id: UUID
    line: int


@router.put("/{order_id}/shipping-address")
class ChangeShippingAddress(Command):
    """Send an order elsewhere."""

    order_id: UUID
    shipping_address: Address


@router.put("/{order_id}/status")
class UpdateOrderStatus(Command):
    """Confirm an order, ship it, or note that it was delivered."""

    order_id: UUID
    status: OrderStatus


@router.post("/{order_id}/cancel")
class CancelOrder(Command):
    """Call an order off; its goods are free again. A shipped order cannot be cancelled."""

    order_id: UUID
    reason: RequiredText


@module.command_handler
async def create(
    command: CreateOrder, orders: Repository[Order], customers: Repository[Customer], stock: Repository[Stock]
) -> UUID:
    at = business_time(command.placed_at, command.timestamp)
    order = Order.create(command.order_id, command.customer_id, command.items, command.shipping_address, at)
    for line in order.goods():
        (await stock.get(line.product_id)).reserve(order.id, line.quantity)
    await customers.get(command.customer_id)
    orders.add(order)
    return order.id


@module.command_handler
async def add(command: AddOrderItem, orders: Repository[Order], stock: Repository[Stock]) -> int:
    order = await orders.get(command.order_id)
    (await stock.get(command.item.product_id)).reserve(order.id, command.item.quantity)
    return order.add_item(command.item)


@module.command_handler
async def remove(command: RemoveOrderItem, orders: Repository[Order], stock: Repository[Stock]) -> None:
    order = await orders.get(command.order_id)
    item = order.remove_item(command.line)
    (await stock.get(item.product_id)).release(order.id, item.quantity, item.amount)


@module.command_handler
async def redirect(command: ChangeShippingAddress, orders: Repository[Order]) -> None:
    (await orders.get(command.order_id)).change_address(command.shipping_address)


@module.command_handler
async def move(command: UpdateOrderStatus, orders: Repository[Order], stock: Repository[Stock]) -> None:
    order = await orders.get(command.order_id)
    order.move_to(command.status)
    for line in order.goods() if command.status is OrderStatus.SHIPPED else ():
        (await stock.get(line.product_id)).ship(order.id, line.quantity)


@module.command_handler
async def cancel(command: CancelOrder, orders: Repository[Order], stock: Repository[Stock]) -> None:
    order = await orders.get(command.order_id)
    order.cancel(command.reason)
    for line in order.goods() if order.has_goods else ():
        (await stock.get(line.product_id)).release(order.id, line.quantity, line.amount)
