"""Orders: what they promise, told as given / when / then."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from diptych import AggregateNotFoundError, DomainEvent, id_for
from diptych.testing.scenario import Scenario
from examples.orders.inventory import InsufficientInventoryError, StockReleased, StockReserved, StockShipped
from examples.orders.orders import (
    MOST_LINES,
    AddOrderItem,
    CancelOrder,
    ChangeShippingAddress,
    CreateOrder,
    EmptyOrderError,
    InvalidOperationError,
    Order,
    OrderCancelled,
    OrderStatus,
    OrderStatusChanged,
    RemoveOrderItem,
    ShippingAddressChanged,
    UpdateOrderStatus,
)
from examples.orders.reading.figures import ProductSales
from examples.orders.reading.order_book import OrderLine, OrderSummary
from examples.orders.tests.conftest import (
    ADA,
    CREATED,
    FOUR_MUGS,
    HOME,
    MUG,
    TEAPOT,
    TODAY,
    TWO_TEAPOTS,
    added,
    item,
    removed,
)
from examples.orders.values import ImpossibleTimeError, OrderItem

SHIPPED = OrderStatusChanged(status=OrderStatus.SHIPPED)
DELIVERED = OrderStatusChanged(status=OrderStatus.DELIVERED)
CANCELLED = OrderCancelled(reason="", customer_id=ADA, placed_on=TODAY.date(), total_amount=Decimal(0))


def reserved(scenario: Scenario[Order], quantity: int) -> StockReserved:
    return StockReserved(order_id=scenario.id, quantity=quantity)


def released(scenario: Scenario[Order], quantity: int, value: str) -> StockReleased:
    return StockReleased(order_id=scenario.id, quantity=quantity, value=Decimal(value))


def order(scenario: Scenario[Order], *items: OrderItem, **fields: Any) -> CreateOrder:
    given = {"customer_id": ADA, "shipping_address": HOME, **fields}
    return CreateOrder(order_id=scenario.id, items=list(items), **given)


# --- placing an order -----------------------------------------------------------------------------


def test_an_order_is_created_then_its_items_and_goods_are_set_aside_in_the_same_commit(
    scenario: Scenario[Order],
) -> None:
    scenario.when(order(scenario, TWO_TEAPOTS, FOUR_MUGS))
    scenario.then(StockReserved, StockReserved, CREATED, added(1, TWO_TEAPOTS), added(2, FOUR_MUGS))
    scenario.then_row(OrderSummary, scenario.id, customer_name="Ada", total_amount=Decimal("74.80"), item_count=2)
    assert scenario.result == scenario.id


def test_two_lines_of_one_product_are_set_aside_both(scenario: Scenario[Order]) -> None:
    dearer, cheaper = item(TEAPOT, 2, "23.50"), item(TEAPOT, 3, "20.00")
    scenario.when(order(scenario, dearer, cheaper))
    scenario.then(reserved(scenario, 2), reserved(scenario, 3), CREATED, added(1, dearer), added(2, cheaper))
    scenario.when(AddOrderItem(order_id=scenario.id, item=item(TEAPOT, 6, "20.00")))
    scenario.then_rejected(InsufficientInventoryError, match="6 wanted, 5 available")


def test_an_order_for_more_than_there_is_stores_nothing(scenario: Scenario[Order]) -> None:
    scenario.when(order(scenario, item(MUG, 1, "6.95"), item(TEAPOT, 11, "23.50")))
    scenario.then_rejected(InsufficientInventoryError, match="11 wanted, 10 available")
    scenario.then_no_row(OrderSummary, scenario.id)


def test_an_order_for_somebody_unknown_is_refused(scenario: Scenario[Order]) -> None:
    scenario.when(order(scenario, FOUR_MUGS, customer_id=id_for("customer", "nobody")))
    scenario.then_rejected(AggregateNotFoundError, match="There is no Customer")


def test_an_order_for_an_unknown_product_is_refused(scenario: Scenario[Order]) -> None:
    scenario.when(order(scenario, item(id_for("product", "air"), 1, "6.95")))
    scenario.then_rejected(AggregateNotFoundError, match="There is no Stock")


def test_an_order_entered_later_keeps_its_own_time(scenario: Scenario[Order]) -> None:
    yesterday = TODAY - timedelta(days=1)
    scenario.when(order(scenario, FOUR_MUGS, placed_at=yesterday))
    scenario.then_row(OrderSummary, scenario.id, created_at=yesterday)


@pytest.mark.parametrize(
    ("placed_at", "why"),
    [
        (TODAY + timedelta(seconds=1), "in the future"),
        (datetime(1999, 12, 31, tzinfo=TODAY.tzinfo), "before 2000-01-01"),
    ],
)
def test_an_order_is_not_placed_at_an_impossible_time(scenario: Scenario[Order], placed_at: datetime, why: str) -> None:
    scenario.when(order(scenario, FOUR_MUGS, placed_at=placed_at))
    scenario.then_rejected(ImpossibleTimeError, match=why)


@pytest.mark.parametrize(
    ("quantity", "unit_price"),
    [(0, "1.00"), (-1, "1.00"), (1, "0.00"), (1, "-1.00"), (1, "1.001"), (1, "NaN"), (100_001, "1.00"), (1, "100000")],
)
def test_a_quantity_and_a_price_are_positive_and_money_has_two_places(quantity: int, unit_price: str) -> None:
    with pytest.raises(ValidationError):
        item(MUG, quantity, unit_price)


# --- changing it while it is here -----------------------------------------------------------------


def test_an_added_item_gets_the_next_line_and_its_goods_are_set_aside(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS))
    scenario.when(AddOrderItem(order_id=scenario.id, item=FOUR_MUGS))
    scenario.then(added(2, FOUR_MUGS), reserved(scenario, 4))
    scenario.then_row(OrderLine, (scenario.id, 2), description="Mug", quantity=4)
    assert scenario.result == 2


def test_a_removed_line_releases_its_goods_and_its_number_is_never_used_again(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS), added(2, FOUR_MUGS))
    scenario.when(RemoveOrderItem(order_id=scenario.id, line=2))
    scenario.then(removed(2, FOUR_MUGS), released(scenario, 4, "27.80"))
    scenario.then_no_row(OrderLine, (scenario.id, 2))
    scenario.when(AddOrderItem(order_id=scenario.id, item=FOUR_MUGS))
    scenario.then(added(3, FOUR_MUGS), reserved(scenario, 4))


def test_the_last_line_stays_on_the_order(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS))
    scenario.when(RemoveOrderItem(order_id=scenario.id, line=1)).then_rejected(EmptyOrderError)
    scenario.when(RemoveOrderItem(order_id=scenario.id, line=7)).then_rejected(InvalidOperationError, "no line 7")


def test_the_goods_go_elsewhere(scenario: Scenario[Order]) -> None:
    away = HOME.model_copy(update={"city": "Cork", "country": "Ireland"})
    scenario.given(CREATED, added(1, FOUR_MUGS))
    scenario.when(ChangeShippingAddress(order_id=scenario.id, shipping_address=away))
    scenario.then(ShippingAddressChanged(shipping_address=away))


def test_an_order_never_grows_past_what_one_commit_can_ship() -> None:
    lines = [added(line, item(id_for("product", str(line)), 1, "1.00")) for line in range(1, MOST_LINES + 1)]
    scenario = Scenario(Order).given(CREATED, *lines)
    scenario.when(lambda order: order.add_item(FOUR_MUGS))
    scenario.then_rejected(InvalidOperationError, match=f"{MOST_LINES} lines")


# --- its way out of the house ---------------------------------------------------------------------


def test_shipping_consumes_what_was_set_aside(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS))
    scenario.when(UpdateOrderStatus(order_id=scenario.id, status=OrderStatus.SHIPPED))
    scenario.then(SHIPPED, StockShipped(order_id=scenario.id, quantity=2))
    scenario.then_row(OrderSummary, scenario.id, status=OrderStatus.SHIPPED)


def test_a_cancelled_order_releases_its_goods_and_says_what_it_was_worth(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS), added(2, item(TEAPOT, 1, "20.00")))
    scenario.when(CancelOrder(order_id=scenario.id, reason="second thoughts"))
    scenario.then(
        OrderCancelled(
            reason="second thoughts", customer_id=ADA, placed_on=date(2026, 11, 23), total_amount=Decimal("67.00")
        ),
        released(scenario, 2, "47.00"),
        released(scenario, 1, "20.00"),
    )
    scenario.then_row(OrderSummary, scenario.id, status=OrderStatus.CANCELLED)
    scenario.then_row(ProductSales, TEAPOT, quantity=0, revenue=Decimal(0))


def test_a_shipped_order_cannot_be_cancelled(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS), SHIPPED)
    scenario.when(CancelOrder(order_id=scenario.id, reason="too late"))
    scenario.then_rejected(InvalidOperationError, match="Cannot cancel a shipped order")


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        (OrderStatus.PENDING, OrderStatus.DELIVERED),
        (OrderStatus.CONFIRMED, OrderStatus.PENDING),
        (OrderStatus.SHIPPED, OrderStatus.SHIPPED),
        (OrderStatus.DELIVERED, OrderStatus.SHIPPED),
        (OrderStatus.PENDING, OrderStatus.CANCELLED),
    ],
)
def test_an_order_moves_on_one_way_only(before: OrderStatus, wanted: OrderStatus) -> None:
    scenario = Scenario(Order).given(CREATED, OrderStatusChanged(status=before))
    scenario.when(lambda order: order.move_to(wanted))
    scenario.then_rejected(InvalidOperationError, match=f"Cannot move a {before.value} order to {wanted.value}")


@pytest.mark.parametrize("gone", [SHIPPED, DELIVERED, CANCELLED])
def test_nothing_is_changed_on_an_order_that_has_left_or_is_off(gone: DomainEvent) -> None:
    scenario = Scenario(Order).given(CREATED, added(1, FOUR_MUGS), gone)
    scenario.when(lambda order: order.add_item(TWO_TEAPOTS)).then_rejected(InvalidOperationError)
    scenario.when(lambda order: order.remove_item(1)).then_rejected(InvalidOperationError)
    scenario.when(lambda order: order.change_address(HOME)).then_rejected(InvalidOperationError)
    scenario.when(lambda order: order.cancel("why not")).then_rejected(InvalidOperationError)
