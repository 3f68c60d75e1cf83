"""Orders, told as given / when / then."""

from datetime import UTC, date, datetime, timedelta
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
    OrderCreated,
    OrderItemAdded,
    OrderItemRemoved,
    OrderStatus,
    OrderStatusChanged,
    RemoveOrderItem,
    ShippingAddressChanged,
    UpdateOrderStatus,
)
from examples.orders.tests.conftest import ADA, HOME, MUG, TEAPOT, item
from examples.orders.values import ImpossibleTimeError, OrderItem

PLACED = datetime(2026, 11, 23, 10, tzinfo=UTC)
CREATED = OrderCreated(customer_id=ADA, shipping_address=HOME, placed_at=PLACED)


def added(line: int, sold: OrderItem) -> OrderItemAdded:
    return OrderItemAdded(line=line, customer_id=ADA, placed_on=PLACED.date(), **dict(sold))


def reserved(scenario: Scenario[Order], quantity: int) -> StockReserved:
    return StockReserved(order_id=scenario.id, quantity=quantity)


def order(scenario: Scenario[Order], *items: OrderItem, **fields: Any) -> CreateOrder:
    given = {"customer_id": ADA, "shipping_address": HOME, "placed_at": PLACED, **fields}
    return CreateOrder(order_id=scenario.id, items=list(items), **given)


def test_an_order_is_created_then_its_items_and_goods_are_set_aside_in_the_same_commit(
    scenario: Scenario[Order],
) -> None:
    first, second = item(TEAPOT, 2, "23.50"), item(MUG, 6, "6.95")
    scenario.when(order(scenario, first, second))
    assert scenario.result == scenario.id
    scenario.then(StockReserved, StockReserved, CREATED, added(1, first), added(2, second))


def test_two_lines_of_one_product_are_set_aside_both(scenario: Scenario[Order]) -> None:
    first, second = item(TEAPOT, 2, "23.50"), item(TEAPOT, 3, "20.00")
    scenario.when(order(scenario, first, second))
    scenario.then(reserved(scenario, 2), reserved(scenario, 3), CREATED, added(1, first), added(2, second))
    scenario.when(AddOrderItem(order_id=scenario.id, item=item(TEAPOT, 6, "20.00")))
    scenario.then_rejected(InsufficientInventoryError, "6 wanted, 5 available")


def test_an_order_for_more_than_there_is_stores_nothing(scenario: Scenario[Order]) -> None:
    scenario.when(order(scenario, item(MUG, 1, "6.95"), item(TEAPOT, 11, "23.50")))
    scenario.then_rejected(InsufficientInventoryError, "11 wanted, 10 available")


def test_an_order_for_somebody_unknown_is_refused(scenario: Scenario[Order]) -> None:
    scenario.when(order(scenario, item(MUG, 1, "6.95"), customer_id=id_for("customer", "nobody")))
    scenario.then_rejected(AggregateNotFoundError, "There is no Customer")


def test_an_order_for_an_unknown_product_is_refused(scenario: Scenario[Order]) -> None:
    scenario.when(order(scenario, item(id_for("product", "air"), 1, "6.95")))
    scenario.then_rejected(AggregateNotFoundError, "There is no Stock")


def test_an_order_entered_later_keeps_its_own_time_but_not_one_to_come(scenario: Scenario[Order]) -> None:
    scenario.when(order(scenario, item(MUG, 1, "6.95"), placed_at=datetime.now(UTC) + timedelta(days=1)))
    scenario.then_rejected(ImpossibleTimeError, "in the future")
    scenario.when(order(scenario, item(MUG, 1, "6.95"), placed_at=datetime(1999, 12, 31, tzinfo=UTC)))
    scenario.then_rejected(ImpossibleTimeError, "before 2000-01-01")


@pytest.mark.parametrize(
    ("quantity", "unit_price"),
    [(0, "1.00"), (-1, "1.00"), (1, "0.00"), (1, "-1.00"), (1, "1.001"), (1, "NaN"), (100_001, "1.00"), (1, "100000")],
)
def test_a_quantity_and_a_price_are_positive_and_money_has_two_places(quantity: int, unit_price: str) -> None:
    with pytest.raises(ValidationError):
        item(MUG, quantity, unit_price)


def test_an_added_item_gets_the_next_line_and_its_goods_are_set_aside(scenario: Scenario[Order]) -> None:
    more = item(MUG, 4, "6.95")
    scenario.given(CREATED, added(1, item(TEAPOT, 1, "23.50")))
    scenario.when(AddOrderItem(order_id=scenario.id, item=more))
    assert scenario.result == 2
    scenario.then(added(2, more), reserved(scenario, 4))


def test_a_removed_line_is_never_used_again(scenario: Scenario[Order]) -> None:
    sold = item(MUG, 4, "6.95")
    scenario.given(CREATED, added(1, item(TEAPOT, 1, "23.50")), added(2, sold))
    scenario.when(RemoveOrderItem(order_id=scenario.id, line=2))
    removed = OrderItemRemoved(line=2, customer_id=ADA, placed_on=PLACED.date(), **dict(sold))
    scenario.then(removed, StockReleased(order_id=scenario.id, quantity=4, value=Decimal("27.80")))
    scenario.when(AddOrderItem(order_id=scenario.id, item=sold))
    assert scenario.result == 3


def test_the_last_line_stays_on_the_order(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, item(TEAPOT, 1, "23.50")))
    scenario.when(RemoveOrderItem(order_id=scenario.id, line=1)).then_rejected(EmptyOrderError)
    scenario.when(RemoveOrderItem(order_id=scenario.id, line=7)).then_rejected(InvalidOperationError, "no line 7")


def test_a_cancelled_order_releases_its_goods_and_says_what_it_was_worth(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, item(TEAPOT, 2, "23.50")), added(2, item(TEAPOT, 1, "20.00")))
    scenario.when(CancelOrder(order_id=scenario.id, reason="second thoughts"))
    scenario.then(
        OrderCancelled(
            reason="second thoughts", customer_id=ADA, placed_on=date(2026, 11, 23), total_amount=Decimal("67.00")
        ),
        StockReleased(order_id=scenario.id, quantity=2, value=Decimal("47.00")),
        StockReleased(order_id=scenario.id, quantity=1, value=Decimal("20.00")),
    )


def test_a_shipped_order_cannot_be_cancelled(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, item(TEAPOT, 2, "23.50")), OrderStatusChanged(status=OrderStatus.SHIPPED))
    scenario.when(CancelOrder(order_id=scenario.id, reason="too late"))
    scenario.then_rejected(InvalidOperationError, "Cannot cancel a shipped order")


def test_shipping_consumes_what_was_set_aside(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, item(TEAPOT, 2, "23.50")))
    scenario.when(UpdateOrderStatus(order_id=scenario.id, status=OrderStatus.SHIPPED))
    scenario.then(OrderStatusChanged(status=OrderStatus.SHIPPED), StockShipped(order_id=scenario.id, quantity=2))


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
    scenario.when(lambda found: found.move_to(wanted))
    scenario.then_rejected(InvalidOperationError, f"Cannot move a {before.value} order to {wanted.value}")


@pytest.mark.parametrize(
    "gone",
    [
        OrderStatusChanged(status=OrderStatus.SHIPPED),
        OrderStatusChanged(status=OrderStatus.DELIVERED),
        OrderCancelled(reason="", customer_id=ADA, placed_on=PLACED.date(), total_amount=Decimal(0)),
    ],
)
def test_nothing_is_changed_on_an_order_that_has_left_or_is_off(gone: DomainEvent) -> None:
    scenario = Scenario(Order).given(CREATED, added(1, item(MUG, 1, "6.95")), gone)
    for change in (
        lambda found: found.add_item(item(MUG, 1, "6.95")),
        lambda found: found.remove_item(1),
        lambda found: found.change_address(HOME),
        lambda found: found.cancel("why not"),
    ):
        scenario.when(change).then_rejected(InvalidOperationError)


def test_the_goods_go_elsewhere(scenario: Scenario[Order]) -> None:
    away = HOME.model_copy(update={"city": "Cork", "country": "Ireland"})
    scenario.given(CREATED, added(1, item(MUG, 1, "6.95")))
    scenario.when(ChangeShippingAddress(order_id=scenario.id, shipping_address=away))
    scenario.then(ShippingAddressChanged(shipping_address=away))


def test_an_order_never_grows_past_what_one_commit_can_ship() -> None:
    lines = [added(line, item(id_for("product", str(line)), 1, "1.00")) for line in range(1, MOST_LINES + 1)]
    scenario = Scenario(Order).given(CREATED, *lines)
    scenario.when(lambda found: found.add_item(item(MUG, 1, "6.95")))
    scenario.then_rejected(InvalidOperationError, f"{MOST_LINES} lines")
