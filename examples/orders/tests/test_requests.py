"""The service from outside: requests in, events and answers out."""

from typing import Any

from diptych.testing.scenario import Request, Scenario
from examples.orders.inventory import InsufficientInventoryError, StockReserved
from examples.orders.orders import InvalidOperationError, Order, OrderStatus, OrderStatusChanged
from examples.orders.reading.order_book import OrderSummary
from examples.orders.tests.conftest import ADA, CREATED, HOME, TEAPOT, TWO_TEAPOTS, added


def order_for(quantity: int, **fields: Any) -> dict[str, Any]:
    teapots = {"product_id": str(TEAPOT), "quantity": quantity, "unit_price": "23.50"}
    return {"customer_id": str(ADA), "items": [teapots], "shipping_address": HOME.model_dump(), **fields}


def test_an_order_is_placed(scenario: Scenario[Order]) -> None:
    scenario.when(Request("POST", "/api/v1/orders", json=order_for(2, order_id=str(scenario.id))))
    scenario.then_status(201, order_id=scenario.id)
    scenario.then(StockReserved, CREATED, added(1, TWO_TEAPOTS))
    scenario.then_row(OrderSummary, scenario.id, customer_name="Ada", item_count=1)


def test_an_order_for_more_than_there_is_is_answered_with_the_reason(scenario: Scenario[Order]) -> None:
    scenario.when(Request("POST", "/api/v1/orders", json=order_for(11)))
    scenario.then_status(400, title="Insufficient inventory")
    scenario.then_rejected(InsufficientInventoryError, match="11 wanted, 10 available")


def test_an_order_that_makes_no_sense_never_gets_to_the_shop(scenario: Scenario[Order]) -> None:
    scenario.when(Request("POST", "/api/v1/orders", json=order_for(0))).then_status(422).then_nothing()
    scenario.when(Request("POST", "/api/v1/orders", json=order_for(1, user_id="eve"))).then_status(422).then_nothing()


def test_an_order_is_cancelled(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS))
    scenario.when(Request("POST", f"/api/v1/orders/{scenario.id}/cancel", json={"reason": "second thoughts"}))
    scenario.then_status(204)
    scenario.then_row(OrderSummary, scenario.id, status=OrderStatus.CANCELLED)


def test_a_shipped_order_is_not_cancelled(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS), OrderStatusChanged(status=OrderStatus.SHIPPED))
    scenario.when(Request("POST", f"/api/v1/orders/{scenario.id}/cancel", json={"reason": "too late"}))
    scenario.then_status(409, detail="Cannot cancel a shipped order").then_rejected(InvalidOperationError)


def test_an_order_is_shown_and_what_was_seen_must_still_hold(scenario: Scenario[Order]) -> None:
    scenario.given(CREATED, added(1, TWO_TEAPOTS))
    scenario.when(Request("GET", f"/api/v1/orders/{scenario.id}"))
    scenario.then_status(200, total_amount="47.00", customer_name="Ada").then_nothing()
    seen = scenario.result.headers["ETag"]
    cancel = Request(
        "POST", f"/api/v1/orders/{scenario.id}/cancel", json={"reason": "late"}, headers={"If-Match": seen}
    )
    scenario.when(cancel).then_status(204)
    scenario.when(cancel).then_status(412).then_nothing()
