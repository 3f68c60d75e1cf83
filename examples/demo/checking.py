"""Compares the read side with the file: every order, product, customer and day, computed directly with decimals.

Rule: nothing of the import is used here but the ids; the sums are made again, from the lines alone.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date
from decimal import Decimal
from typing import Generic, TypeVar

from diptych import NotFoundError, Query, QueryBus
from examples.demo.importing import customer_id, order_id, product_id
from examples.demo.lines import Invoice, Line
from examples.orders.reading.figures import GetCustomerTotals, GetProductSales, GetRevenue
from examples.orders.reading.order_book import GetOrderById

R = TypeVar("R")
V = TypeVar("V")


@dataclass(slots=True)
class Comparison(Generic[V]):
    """One read model against the file. `differences` says of each what the file and what the read model has."""

    what: str
    compared: int = 0
    total: Decimal = Decimal(0)
    differences: list[str] = field(default_factory=list)

    def compare(self, name: str, expected: V, found: V | None) -> None:
        """Count one, and note it when it differs."""
        self.compared += 1
        if expected != found:
            self.differences.append(f"{name}: the file has {expected}, the read model {found}")


async def compare(invoices: Sequence[Invoice], queries: QueryBus) -> list[Comparison[object]]:
    """Ask the read side about everything in the file."""
    lines = [line for invoice in invoices for line in invoice.lines if _counts(line)]
    return [
        await _orders(lines, queries),
        await _products(lines, queries),
        await _customers(lines, queries),
        await _days(lines, queries),
    ]


def _counts(line: Line) -> bool:
    """Whether the shop can book it: a real price, and goods that go out, or come back on a credit note."""
    return line.price > 0 and (line.quantity < 0 if line.invoice.startswith("C") else line.quantity > 0)


def _sums(lines: Sequence[Line], key: Callable[[Line], str | date]) -> dict[str | date, tuple[int, Decimal]]:
    """Quantity and amount by a key."""
    sums: defaultdict[str | date, tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    for line in lines:
        quantity, amount = sums[key(line)]
        sums[key(line)] = quantity + line.quantity, amount + line.amount
    return sums


async def _ask(queries: QueryBus, query: Query[R]) -> R | None:
    """Ask for a row that may not be there."""
    try:
        return await queries.dispatch(query)
    except NotFoundError:
        return None


async def _orders(lines: Sequence[Line], queries: QueryBus) -> Comparison[object]:
    result: Comparison[object] = Comparison("orders: total")
    orders = [line for line in lines if not line.invoice.startswith("C")]
    for number, (_, amount) in _sums(orders, lambda line: line.invoice).items():
        found = await _ask(queries, GetOrderById(order_id=order_id(str(number))))
        result.compare(f"order {number}", amount, found.total_amount if found else None)
        result.total += found.total_amount if found else 0
    return result


async def _products(lines: Sequence[Line], queries: QueryBus) -> Comparison[object]:
    result: Comparison[object] = Comparison("products: quantity, revenue")
    for code, sums in _sums(lines, lambda line: line.code).items():
        found = await _ask(queries, GetProductSales(product_id=product_id(str(code))))
        result.compare(f"product {code}", sums, (found.quantity, found.revenue) if found else None)
        result.total += found.revenue if found else 0
    return result


async def _customers(lines: Sequence[Line], queries: QueryBus) -> Comparison[object]:
    result: Comparison[object] = Comparison("customers: balance")
    for number, (_, amount) in _sums(lines, lambda line: line.customer).items():
        found = await _ask(queries, GetCustomerTotals(customer_id=customer_id(str(number))))
        balance = found.ordered - found.credited if found else None
        result.compare(f"customer {number or 'guest'}", amount, balance)
        result.total += balance or 0
    return result


async def _days(lines: Sequence[Line], queries: QueryBus) -> Comparison[object]:
    result: Comparison[object] = Comparison("days: revenue")
    sums = _sums(lines, lambda line: line.at.astimezone(UTC).date())
    for day, (_, amount) in sums.items():
        assert isinstance(day, date)
        found = await queries.dispatch(GetRevenue(first=day, last=day))
        revenue = found[0].ordered - found[0].credited if found else None
        result.compare(str(day), amount, revenue)
        result.total += revenue or 0
    return result
