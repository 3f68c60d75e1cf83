"""What a saga remembers is written down as it is, or the saga is put aside and says why: nothing is lost in silence."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from diptych import Saga, new_id, on
from diptych.sagas.row import SagaRow, saga_table
from tests.sagas.faults import rows
from tests.sagas.shop import OrderPaid, OrderPlaced, PayOrder, PlaceOrder, shop_app

pytestmark = pytest.mark.anyio

DO: list[Callable[["Rememberer"], Any]] = []


class Rememberer(Saga):
    """Remembers what the test has it remember."""

    number: float = 0.0
    text: str = ""
    raw: bytes = b""
    secret: SecretStr = SecretStr("")
    seen: list[str] = []
    anything: Any = None

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Change."""
        DO[0](self)

    @on
    def paid(self, event: OrderPaid) -> None:
        """Go on."""
        self.seen.append("paid")


def undeclared(saga: Rememberer) -> None:
    """Remember what is not declared."""
    saga.__dict__["more"] = 1
    saga.more = 2  # type: ignore[attr-defined]


async def after(change: Callable[[Rememberer], Any]) -> SagaRow:
    """The saga's row after this change and another event; another saga must not notice."""
    DO[:] = [change]
    order, other = new_id(), new_id()
    async with shop_app("memory:", saga=Rememberer) as app:
        await app.commands.dispatch(PlaceOrder(order_id=order, product_id=new_id(), quantity=1))
        await app.settled()
        DO[:] = [lambda saga: None]
        await app.commands.dispatch(PlaceOrder(order_id=other, product_id=new_id(), quantity=1))
        for one in (order, other):
            await app.commands.dispatch(PayOrder(order_id=one))
        await app.settled()
        found = {row.id: row for row in await rows(app, saga_table("Rememberer"))}
    assert (found[other].status, '"seen":["paid"]' in found[other].state) == ("running", True)
    row: SagaRow = found[order]
    return row


@pytest.mark.parametrize(
    "change",
    [
        lambda saga: setattr(saga, "number", float("inf")),
        lambda saga: setattr(saga, "raw", b"\xff\x00"),
        lambda saga: setattr(saga, "anything", {"a": [1, None]}),
        lambda saga: saga.seen.append("placed"),
    ],
    ids=["infinity", "bytes", "json", "in place"],
)
async def test_what_can_be_written_down_is_there_at_the_next_event(change: Callable[[Rememberer], Any]) -> None:
    """S1"""
    row = await after(change)
    assert row.status == "running"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda saga: setattr(saga, "anything", object()), "cannot be written down"),
        (lambda saga: setattr(saga, "anything", {1, 2}), "cannot be written down"),
        (lambda saga: setattr(saga, "number", "none"), "cannot be written down"),
        (lambda saga: setattr(saga, "secret", SecretStr("x")), "cannot be written down"),
        (undeclared, "more"),
        (lambda saga: setattr(saga, "text", "x" * 300_000), "over the limit"),
        (lambda saga: setattr(saga, "text", "\0"), "NUL"),
    ],
    ids=["object", "set", "wrong type", "secret", "undeclared", "too large", "NUL"],
)
async def test_what_cannot_puts_that_saga_aside(change: Callable[[Rememberer], Any], why: str) -> None:
    """S1: with a sentence that says so; the lane and its other sagas go on."""
    row = await after(change)
    assert row.status == "stuck"
    assert why in row.error
