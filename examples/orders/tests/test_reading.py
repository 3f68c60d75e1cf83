"""The read side alone: events in, rows out."""

from decimal import Decimal
from typing import Any

import pytest

from diptych import id_for
from diptych.testing.scenario import Scenario
from examples.orders.customers import Customer, CustomerRenamed
from examples.orders.inventory import Stock, StockReleased
from examples.orders.orders import OrderCancelled, OrderStatus
from examples.orders.reading.figures import Customers, CustomerTotals, Days, Products, ProductSales, RevenuePerDay
from examples.orders.reading.order_book import OrderBook, OrderDetail, OrderLine, OrderSummary
from examples.orders.tests.conftest import (
    ADA,
    CREATED,
    FOUR_MUGS,
    TEAPOT,
    TODAY,
    TWO_TEAPOTS,
    added,
    in_the_shop,
    removed,
)

CANCELLED = OrderCancelled(reason="late", customer_id=ADA, placed_on=TODAY.date(), total_amount=Decimal("74.80"))


def order_in(projection: type[Any]) -> Scenario[Any]:
    """A projection that has seen the shop, and an order of two teapots and four mugs."""
    return in_the_shop(Scenario(projection)).given(CREATED, added(1, TWO_TEAPOTS), added(2, FOUR_MUGS))


def test_the_order_book_lists_an_order_with_what_it_comes_to() -> None:
    book = order_in(OrderBook)
    book.then_row(OrderSummary, book.id, customer_name="Ada", total_amount=Decimal("74.80"), item_count=2)
    book.then_row(OrderLine, (book.id, 1), description="Teapot", quantity=2, unit_price=Decimal("23.50"))


def test_the_order_book_takes_a_line_off_again() -> None:
    book = order_in(OrderBook)
    book.when(removed(1, TWO_TEAPOTS))
    book.then_no_row(OrderLine, (book.id, 1))
    book.then_row(OrderSummary, book.id, total_amount=Decimal("27.80"), item_count=1)


def test_the_order_book_says_what_a_customer_is_called_today() -> None:
    book = order_in(OrderBook).given(ADA, CustomerRenamed(name="Ada L."), of=Customer)
    book.then_row(OrderSummary, book.id, customer_name="Ada L.")


def test_the_order_book_says_why_an_order_is_off() -> None:
    book = order_in(OrderBook)
    book.when(CANCELLED)
    book.then_row(OrderSummary, book.id, status=OrderStatus.CANCELLED)
    book.then_row(OrderDetail, book.id, cancelled_because="late", version=4)


def test_a_cancelled_order_counts_for_nothing_in_the_figures() -> None:
    order_in(Customers).then_row(CustomerTotals, ADA, orders=1, ordered=Decimal("74.80"))
    order_in(Customers).given(CANCELLED).then_row(CustomerTotals, ADA, orders=0, ordered=Decimal(0))
    order_in(Days).then_row(RevenuePerDay, TODAY.date(), ordered=Decimal("74.80"))
    order_in(Days).given(CANCELLED).then_row(RevenuePerDay, TODAY.date(), ordered=Decimal(0))


@pytest.mark.parametrize(("back", "left"), [(1, 1), (2, 0)])
def test_what_is_released_is_not_sold(back: int, left: int) -> None:
    sales = order_in(Products)
    released = StockReleased(order_id=id_for("order", "any"), quantity=back, value=back * Decimal("23.50"))
    sales.given(TEAPOT, released, of=Stock)
    sales.then_row(ProductSales, TEAPOT, quantity=left, revenue=left * Decimal("23.50"))
