"""What the stories of the order service share: the app in memory, and somebody who sells something to somebody."""

from decimal import Decimal
from uuid import UUID

import pytest

from diptych import App, id_for
from diptych.testing.scenario import Scenario
from examples.orders.customers import Customer, CustomerRegistered
from examples.orders.inventory import ProductRegistered, Stock, StockReceived
from examples.orders.main import make_app
from examples.orders.orders import Order
from examples.orders.values import Address, OrderItem

ADA, TEAPOT, MUG = id_for("customer", "ada"), id_for("product", "teapot"), id_for("product", "mug")
HOME = Address(street="1 High Street", city="Leeds", country="United Kingdom")


def item(product_id: UUID, quantity: int, unit_price: str) -> OrderItem:
    """An item, its price as text."""
    return OrderItem(product_id=product_id, quantity=quantity, unit_price=Decimal(unit_price))


@pytest.fixture
def app() -> App:
    """The order service, in memory."""
    return make_app("memory:")


@pytest.fixture
def scenario(app: App) -> Scenario[Order]:
    """A shop with ten teapots and ten mugs, and Ada in front of the counter."""
    shop = Scenario(Order, app)
    shop.given(ADA, CustomerRegistered(name="Ada", address=HOME), of=Customer)
    for product, description in ((TEAPOT, "Teapot"), (MUG, "Mug")):
        shop.given(product, ProductRegistered(description=description), StockReceived(quantity=10), of=Stock)
    return shop
