"""What is in the log of a shop stays readable: each event is stored as its file in `golden` says."""

from decimal import Decimal

from diptych import App, id_for
from diptych.testing.golden import Golden
from examples.orders.credit_notes import CreditNoteIssued, CreditNoteLineAdded
from examples.orders.customers import CustomerRegistered, CustomerRenamed
from examples.orders.inventory import ProductRegistered, StockReceived, StockReleased, StockReserved, StockShipped
from examples.orders.orders import (
    GoodsSetAside,
    OrderCancelled,
    OrderCheckedOut,
    OrderStatus,
    OrderStatusChanged,
    ShippingAddressChanged,
)
from examples.orders.payments import (
    PaymentDeclined,
    PaymentReceived,
    PaymentRefunded,
    PaymentRequested,
    RefundRequested,
)
from examples.orders.tests.conftest import ADA, CREATED, FOUR_MUGS, HOME, TODAY, TWO_TEAPOTS, added, removed


def test_events_are_stored_as_before(golden: Golden, app: App) -> None:
    order, day = id_for("order", "one"), TODAY.date()
    golden(
        CustomerRegistered(name="Ada", address=HOME),
        CustomerRenamed(name="Ada L."),
        ProductRegistered(description="Teapot"),
        StockReceived(quantity=10),
        StockReserved(order_id=order, quantity=2),
        StockReleased(order_id=order, quantity=2, value=Decimal("47.00")),
        StockShipped(order_id=order, quantity=2),
        CREATED,
        added(1, TWO_TEAPOTS),
        removed(2, FOUR_MUGS),
        ShippingAddressChanged(shipping_address=HOME),
        OrderStatusChanged(status=OrderStatus.CONFIRMED),
        OrderCancelled(reason="late", customer_id=ADA, placed_on=day, total_amount=Decimal("47.00")),
        CreditNoteIssued(customer_id=ADA, issued_at=TODAY),
        CreditNoteLineAdded(line=1, customer_id=ADA, issued_on=day, **dict(FOUR_MUGS)),
        OrderCheckedOut(customer_id=ADA, total_amount=Decimal("47.00")),
        GoodsSetAside(),
        PaymentRequested(customer_id=ADA, amount=Decimal("47.00")),
        PaymentReceived(customer_id=ADA, amount=Decimal("47.00"), reference="ch_1"),
        PaymentDeclined(reason="no cover"),
        RefundRequested(reference="ch_1"),
        PaymentRefunded(),
        app=app,
    )
