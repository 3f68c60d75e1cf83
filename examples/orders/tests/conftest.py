"""What the stories of the order service share: the app in memory, and somebody who sells something to somebody."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from diptych import App, id_for
from diptych.testing.scenario import Scenario
from examples.orders.customers import Customer, CustomerRegistered
from examples.orders.inventory import ProductRegistered, Stock, StockReceived
from examples.orders.main import make_api, make_app
from examples.orders.orders import Order, OrderCreated, OrderItemAdded, OrderItemRemoved
from examples.orders.values import Address, OrderItem

ADA, TEAPOT, MUG = id_for("customer", "ada"), id_for("product", "teapot"), id_for("product", "mug")
HOME = Address(street="1 High Street", city="Leeds", country="United Kingdom")
TODAY = datetime(2026, 11, 23, 10, tzinfo=UTC)


def item(product_id: UUID, quantity: int, unit_price: str) -> OrderItem:
    """An item, its price as text."""
    return OrderItem(product_id=product_id, quantity=quantity, unit_price=Decimal(unit_price))


TWO_TEAPOTS, FOUR_MUGS = item(TEAPOT, 2, "23.50"), item(MUG, 4, "6.95")
CREATED = OrderCreated(customer_id=ADA, shipping_address=HOME, placed_at=TODAY)


def added(line: int, sold: OrderItem) -> OrderItemAdded:
    """The event that an item is on the order, on this line."""
    return OrderItemAdded(line=line, customer_id=ADA, placed_on=TODAY.date(), **dict(sold))


def removed(line: int, sold: OrderItem) -> OrderItemRemoved:
    """The event that this line is off the order."""
    return OrderItemRemoved(line=line, customer_id=ADA, placed_on=TODAY.date(), **dict(sold))


def in_the_shop(scenario: Scenario[Any]) -> Scenario[Any]:
    """Ada is known, and so are teapots and mugs, ten of each on the shelf."""
    scenario.given(ADA, CustomerRegistered(name="Ada", address=HOME), of=Customer)
    scenario.given(TEAPOT, ProductRegistered(description="Teapot"), StockReceived(quantity=10), of=Stock)
    scenario.given(MUG, ProductRegistered(description="Mug"), StockReceived(quantity=10), of=Stock)
    return scenario


@pytest.fixture
def app() -> App:
    """The order service, in memory."""
    return make_app("memory:")


@pytest.fixture
def scenario(app: App) -> Scenario[Order]:
    """An order in the shop, by command or by request, today."""
    return in_the_shop(Scenario(Order, app, api=make_api(app), at=TODAY))
