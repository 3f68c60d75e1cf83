"""What must be true when all orders that were paid in advance have ended, judged from log and ledger.

Rule: nothing here asks an aggregate or a row; it counts events.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from diptych import DomainEvent
from diptych.events.recorded import StoredEvent
from diptych.sagas.stepped import SagaStepped
from examples.orders.fake_provider import Charge
from examples.orders.inventory import StockReceived, StockReleased, StockReserved, StockShipped
from examples.orders.orders import OrderCancelled, OrderCheckedOut, OrderStatusChanged
from examples.orders.payments import PaymentReceived

_PAYMENTS_OF_SHIPPED: Final = ["PaymentRequested", "PaymentReceived"]
_PAYMENTS_OF_CANCELLED: Final[Sequence[Sequence[str]]] = (
    [],
    ["PaymentRequested", "PaymentDeclined"],
    ["PaymentRequested", "PaymentReceived", "RefundRequested", "PaymentRefunded"],
)


@dataclass
class Case:
    """One order as the log tells it. `held` is what is set aside for it, neither released nor shipped."""

    total: Decimal = Decimal(0)
    order: list[str] = field(default_factory=list)
    payment: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    held: Counter[UUID] = field(default_factory=Counter)
    released: int = 0
    shipped: int = 0
    steps: list[SagaStepped] = field(default_factory=list)
    paid_at: int = 0
    due_at: int = 0

    @property
    def is_over(self) -> bool:
        """Whether its saga is."""
        return bool(self.steps) and self.steps[-1].status == "completed"

    @property
    def is_shipped(self) -> bool:
        """Whether it left."""
        return "OrderStatusChanged" in self.order


class Ledger:
    """All orders of a log, taken in event by event; and how many of each product are free."""

    def __init__(self) -> None:
        self.cases: dict[UUID, Case] = defaultdict(Case)
        self.free: Counter[UUID] = Counter()
        self.ended: set[UUID] = set()

    def take(self, row: StoredEvent, event: DomainEvent) -> None:
        """Take in an event."""
        id = row.stream.id
        if isinstance(event, SagaStepped):
            self._stepped(id, event)
        elif row.stream.category == "Order":
            self._order(self.cases[id], event)
        elif row.stream.category == "Payment":
            self.cases[id].payment.append(type(event).__name__)
            if isinstance(event, PaymentReceived):
                self.cases[id].references.append(event.reference)
                self.cases[id].paid_at = row.recorded_at
        elif row.stream.category == "Stock":
            self._stock(id, event)

    def _stepped(self, id: UUID, event: SagaStepped) -> None:
        case = self.cases[id]
        case.steps.append(event)
        case.due_at = next((timer.due_at for timer in event.timers if timer.due_at), case.due_at)
        if case.is_over:
            self.ended.add(id)

    def _order(self, case: Case, event: DomainEvent) -> None:
        if isinstance(event, OrderCheckedOut):
            case.total = event.total_amount
        if isinstance(event, OrderStatusChanged | OrderCancelled):
            case.order.append(type(event).__name__)

    def _stock(self, product: UUID, event: Any) -> None:
        match event:
            case StockReceived():
                self.free[product] += event.quantity
            case StockReserved():
                self.free[product] -= event.quantity
                self.cases[event.order_id].held[product] += event.quantity
            case StockReleased():
                self.free[product] += event.quantity
                self.cases[event.order_id].held[product] -= event.quantity
                self.cases[event.order_id].released += event.quantity
            case StockShipped():
                self.cases[event.order_id].held[product] -= event.quantity
                self.cases[event.order_id].shipped += event.quantity


def judge(ledger: Ledger, orders: Iterable[UUID], charges: Mapping[str, Charge]) -> Counter[str]:
    """Return how many orders ended in which way. :raises AssertionError: one of them is not as it must be."""
    taken: dict[UUID, list[Charge]] = defaultdict(list)
    for charge in charges.values():
        taken[charge.payment_id].append(charge)
    wanted = set(orders)
    assert set(ledger.cases) == wanted, f"{wanted ^ set(ledger.cases)}: not placed, or never heard of (L1)"
    assert set(taken) <= wanted, f"{set(taken) - wanted}: charged without an order"
    assert min(ledger.free.values()) >= 0, f"more was set aside than there was: {ledger.free}"
    ways: Counter[str] = Counter()
    for id, case in ledger.cases.items():
        ways[_judge_one(id, case, taken[id])] += 1
    return ways


def _judge_one(id: UUID, case: Case, charges: Sequence[Charge]) -> str:
    told = f"order {id}: {case.order}, {case.payment}, {charges}, {[step.cause.name for step in case.steps]}"
    assert case.is_over, f"its saga did not end (S1): {told}"
    assert not +case.held, f"goods are still set aside (S3): {told}"
    assert not -case.held, f"more was released and shipped than was set aside (S1): {told}"
    assert len(case.order) == 1, f"shipped or cancelled not exactly once: {told}"
    assert [charge.reference for charge in charges] == case.references, f"charged otherwise than recorded (S1): {told}"
    assert all(charge.amount == case.total for charge in charges), f"another amount: {told}"
    refunds = [charge.refunds for charge in charges]
    sent = [command.id for step in case.steps for command in step.sent]
    assert len(sent) == len(set(sent)), f"a command was sent under one id by two steps (S1): {told}"
    if case.is_shipped:
        assert case.payment == _PAYMENTS_OF_SHIPPED, f"shipped and not paid once: {told}"
        assert (refunds, case.released) == ([0], 0), f"shipped and given back (S3): {told}"
        assert case.shipped > 0, told
    else:
        assert case.payment in _PAYMENTS_OF_CANCELLED, f"cancelled and not given back (S3): {told}"
        assert refunds in ([], [1]), f"cancelled, the money not given back once (S3): {told}"
        assert case.shipped == 0, f"cancelled and shipped: {told}"
    fired = [step.cause for step in case.steps if step.cause.kind == "timeout"]
    assert len(fired) <= 1, f"a timer fired twice (S2): {told}"
    if fired and case.paid_at:
        assert case.paid_at > case.due_at, f"cancelled as unpaid although it was paid in time (S2): {told}"
    return _way(case, is_late=bool(fired))


def _way(case: Case, *, is_late: bool) -> str:
    if case.is_shipped:
        return "shipped"
    why = "not paid in time" if is_late else "declined" if "PaymentDeclined" in case.payment else "other"
    return f"cancelled, {why}{', money given back' if case.references else ''}"
