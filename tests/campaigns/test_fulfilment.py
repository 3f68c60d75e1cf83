"""S1 to S4: whatever the provider does, and whoever is killed, an order is shipped and paid once, or off and undone."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from diptych import id_for
from diptych.sagas.stepped import Cause, SagaStepped
from examples.orders import fulfilment
from examples.orders.fake_provider import Charge, ChargeRequest, FakeProvider, Manners
from examples.orders.provider import Charged, Declined
from tests.campaigns.fulfilled import Case, Ledger, judge
from tests.campaigns.fulfilment import Plan, fulfil
from tests.urls import url_for

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


async def test_every_order_ends_shipped_and_paid_once_or_cancelled_and_undone(url: str) -> None:
    """S1, S2, S3, S4"""
    told = await fulfil(url, Plan(orders=80))
    assert "80 orders" in told
    assert timedelta(minutes=30) == fulfilment.PATIENCE, "other tests of this process sell, too"


class Forgetful(FakeProvider):
    """Takes money at each request, whatever key it has."""

    def charge(self, asked: ChargeRequest, key: str) -> Charged | Declined:
        return super().charge(asked, f"{key} {self.requests}")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_customer_who_is_charged_twice_would_be_found(url: str) -> None:
    """S1: with a provider that knows no keys the campaign fails."""
    with pytest.raises(AssertionError, match="charged otherwise than recorded"):
        await fulfil(url, Plan(orders=30), Forgetful(Manners(hangs=0.3)))


ORDER, PRODUCT, REFERENCE = (id_for("judge", name) for name in ("order", "product", "reference"))
CAUSE = Cause(kind="event", name="OrderCheckedOut", id=REFERENCE)
LATE = Cause(kind="timeout", name="PaymentDue", id=REFERENCE)
ENDED = SagaStepped(saga="Fulfilment", key="", cause=CAUSE, status="completed", state={})
OVERDUE = SagaStepped(saga="Fulfilment", key="", cause=LATE, status="completed", state={})
GIVEN_BACK = ["PaymentRequested", "PaymentReceived", "RefundRequested", "PaymentRefunded"]


def shipped(**changes: Any) -> tuple[Ledger, dict[str, Charge]]:
    """An order as it should be, with something changed."""
    ledger = Ledger()
    ledger.free[PRODUCT] = 3
    case = Case(
        total=Decimal(5),
        order=["OrderStatusChanged"],
        payment=["PaymentRequested", "PaymentReceived"],
        references=["ch_1"],
        shipped=1,
        steps=[ENDED],
    )
    ledger.cases[ORDER] = replace(case, **changes)
    return ledger, {"ch_1": Charge(ORDER, Decimal(5), "ch_1")}


def test_the_judge_lets_what_is_right_pass() -> None:
    ledger, charges = shipped()
    assert judge(ledger, [ORDER], charges) == {"shipped": 1}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"steps": []}, "did not end"),
        ({"held": Counter({PRODUCT: 1})}, "still set aside"),
        ({"held": Counter({PRODUCT: -1})}, "more was released and shipped"),
        ({"order": ["OrderStatusChanged"] * 2}, "not exactly once"),
        ({"order": ["OrderStatusChanged", "OrderCancelled"]}, "not exactly once"),
        ({"references": ["ch_1", "ch_2"]}, "charged otherwise than recorded"),
        ({"references": []}, "charged otherwise than recorded"),
        ({"total": Decimal(6)}, "another amount"),
        ({"payment": ["PaymentRequested"]}, "shipped and not paid"),
        ({"released": 1}, "shipped and given back"),
        ({"order": ["OrderCancelled"], "shipped": 0}, "cancelled and not given back"),
        ({"order": ["OrderCancelled"], "shipped": 0, "payment": GIVEN_BACK}, "the money not given back once"),
        ({"steps": [OVERDUE, OVERDUE]}, "fired twice"),
        ({"steps": [OVERDUE], "paid_at": 1, "due_at": 2}, "although it was paid in time"),
    ],
)
def test_the_judge_finds_what_is_wrong(changes: dict[str, Any], why: str) -> None:
    ledger, charges = shipped(**changes)
    with pytest.raises(AssertionError, match=why):
        judge(ledger, [ORDER], charges)


def test_the_judge_misses_no_order_and_no_charge() -> None:
    ledger, charges = shipped()
    with pytest.raises(AssertionError, match="L1"):
        judge(ledger, [ORDER, PRODUCT], charges)
    with pytest.raises(AssertionError, match="charged without an order"):
        judge(ledger, [ORDER], {**charges, "ch_2": Charge(PRODUCT, Decimal(5), "ch_2")})
    ledger.free[PRODUCT] = -1
    with pytest.raises(AssertionError, match="more was set aside than there was"):
        judge(ledger, [ORDER], charges)
