"""Customers, inventory and credit notes, told as given / when / then."""

from decimal import Decimal

from diptych import AggregateNotFoundError, App, ConflictError
from diptych.testing.scenario import Scenario
from examples.orders.credit_notes import CreditNote, CreditNoteIssued, CreditNoteLineAdded, IssueCreditNote
from examples.orders.customers import Customer, CustomerRegistered, CustomerRenamed, RegisterCustomer, RenameCustomer
from examples.orders.inventory import ProductRegistered, ReceiveStock, RegisterProduct, Stock, StockReceived
from examples.orders.reading.figures import CustomerTotals, RevenuePerDay
from examples.orders.tests.conftest import ADA, HOME, MUG, TODAY, in_the_shop, item


def test_a_customer_is_registered_once(app: App) -> None:
    scenario = Scenario(Customer, app)
    scenario.when(RegisterCustomer(customer_id=scenario.id, name="Ada", address=HOME))
    scenario.then(CustomerRegistered(name="Ada", address=HOME))
    scenario.when(RegisterCustomer(customer_id=scenario.id, name="Eve", address=HOME))
    scenario.then_rejected(ConflictError)


def test_the_same_name_again_is_no_news(app: App) -> None:
    scenario = Scenario(Customer, app).given(CustomerRegistered(name="Ada", address=HOME))
    scenario.when(RenameCustomer(customer_id=scenario.id, name="Ada")).then_nothing()
    scenario.when(RenameCustomer(customer_id=scenario.id, name="Ada L.")).then(CustomerRenamed(name="Ada L."))


def test_goods_come_in_for_registered_products_only(app: App) -> None:
    scenario = Scenario(Stock, app)
    scenario.when(ReceiveStock(product_id=scenario.id, quantity=5)).then_rejected(AggregateNotFoundError)
    scenario.when(RegisterProduct(product_id=scenario.id, description="Mug"))
    scenario.then(ProductRegistered(description="Mug"))
    scenario.when(ReceiveStock(product_id=scenario.id, quantity=5)).then(StockReceived(quantity=5))


def test_a_credit_note_gives_money_back_and_moves_no_goods(app: App) -> None:
    back = item(MUG, 2, "6.95")
    scenario = in_the_shop(Scenario(CreditNote, app, at=TODAY))
    scenario.when(IssueCreditNote(credit_note_id=scenario.id, customer_id=ADA, items=[back]))
    scenario.then(
        CreditNoteIssued(customer_id=ADA, issued_at=TODAY),
        CreditNoteLineAdded(line=1, customer_id=ADA, issued_on=TODAY.date(), **dict(back)),
    )
    scenario.then_row(CustomerTotals, ADA, credited=Decimal("13.90"))
    scenario.then_row(RevenuePerDay, TODAY.date(), credited=Decimal("13.90"))
