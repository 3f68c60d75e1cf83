"""What the shop's read models must be, computed one event at a time in the plainest way."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from diptych.events.recorded import from_microseconds
from tests.projections import shop
from tests.projections.shop import Added, Cancelled, Erased, Fact, Placed, Registered, Renamed

Tables = dict[str, dict[tuple[Any, ...], Any]]


@dataclass
class _Order:
    customer: UUID
    name: str
    total: Decimal
    items: int
    status: str
    position: int


def naive_orders(facts: Sequence[Fact]) -> Tables:
    """Orders with their customers' names of today."""
    names: dict[UUID, str] = {}
    orders: dict[UUID, _Order] = {}
    for position, (stream, event) in enumerate(facts, 1):
        match event:
            case Registered(name=name):
                names[stream.id] = name
            case Renamed(name=name):
                names[stream.id] = name
                for each in orders.values():
                    if each.customer == stream.id:
                        each.name = name
            case Placed(customer_id=customer):
                orders[stream.id] = _Order(customer, names.get(customer, "?"), Decimal(0), 0, "placed", position)
            case Added(quantity=quantity, price=price):
                orders[stream.id].total += quantity * price
                orders[stream.id].items += quantity
            case Cancelled(reason=reason):
                orders[stream.id].status = f"cancelled: {reason}"
            case Erased():
                del orders[stream.id]
    rows = {
        (id,): shop.Order(
            id=id,
            customer_id=each.customer,
            customer_name=each.name,
            total=each.total,
            items=each.items,
            status=each.status,
            placed_at=from_microseconds(1_700_000_000_000_000 + each.position),
        )
        for id, each in orders.items()
    }
    customers = {(id,): shop.CustomerName(id=id, name=name) for id, name in names.items()}
    return {name: table for name, table in (("order", rows), ("customer_name", customers)) if table}


def naive_sales(facts: Sequence[Fact]) -> Tables:
    """What was sold of each product."""
    rows: dict[tuple[Any, ...], Any] = {}
    for _, event in facts:
        if isinstance(event, Added):
            before = rows.get((event.product,))
            sold, revenue = (before.sold, before.revenue) if before else (0, Decimal(0))
            rows[(event.product,)] = shop.ProductSales(
                product=event.product, sold=sold + event.quantity, revenue=revenue + event.quantity * event.price
            )
    return {"product_sales": rows} if rows else {}
