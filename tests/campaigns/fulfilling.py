"""What workers of the campaign of sagas do: carry orders, wait a moment for money, write receipts in a ledger."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from diptych import App, IdempotencyKey, Metadata, Rejected, Saga, Timeout, on
from diptych.app.tuning import Tuning
from diptych.subscriptions.reading import Pace
from tests.sagas.shop import (
    CancelOrder,
    OrderCancelled,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
    ReleaseStock,
    ReserveStock,
    ShipOrder,
    StockReserved,
    shop,
)

PATIENCE: Final = timedelta(seconds=2)
"""How long an order waits for its money."""


class PaymentDue(Timeout):
    """The money should be there."""


class Fulfilment(Saga):
    """As in the shop, with less patience."""

    product_id: UUID | None = None
    is_reserved: bool = False
    is_given_up: bool = False

    @on(starts=True)
    def placed(self, event: OrderPlaced) -> None:
        """Reserve, and wait."""
        self.product_id = event.product_id
        self.dispatch(ReserveStock(product_id=event.product_id, order_id=self.id, quantity=event.quantity))
        self.schedule(PaymentDue(), after=PATIENCE)

    @on(key="order_id")
    def reserved(self, event: StockReserved) -> None:
        """Remember what is to be given back."""
        self.is_reserved = True

    @on
    def paid(self, event: OrderPaid) -> None:
        """Ship."""
        self.cancel(PaymentDue)
        self.dispatch(ShipOrder(order_id=self.id))

    @on
    def shipped(self, event: OrderShipped) -> None:
        """Be done."""
        self.complete()

    @on
    def refused(self, rejection: Rejected[ReserveStock]) -> None:
        """There is none."""
        self._give_up(rejection.message)

    @on
    def unpaid(self, timeout: PaymentDue) -> None:
        """There is no money."""
        self._give_up("not paid")

    @on
    def cancelled(self, event: OrderCancelled) -> None:
        """Give back."""
        if self.is_reserved and self.product_id is not None:
            self.dispatch(ReleaseStock(product_id=self.product_id, order_id=self.id))
        self.complete()

    def _give_up(self, why: str) -> None:
        """Cancel it once, though it be refused and late."""
        if not self.is_given_up:
            self.dispatch(CancelOrder(order_id=self.id, reason=why))
        self.is_given_up = True


class Shift(NamedTuple):
    """Where to work, and where to write receipts."""

    url: str
    ledger: Path
    lease: float


def made(shift: Shift, *, is_worker: bool) -> App:
    """The shop, as a worker or as a web process has it."""
    pace = Pace(poll=0.2, first_pause=0.01, longest_pause=0.2, lease=shift.lease)
    app = App(shift.url, tuning=Tuning(pace=pace, runs_projections=is_worker))
    app.include(shop())
    app.saga(Fulfilment)

    @app.reaction
    async def write_receipt(
        event: OrderPlaced | OrderShipped | OrderCancelled, meta: Metadata, key: IdempotencyKey
    ) -> None:
        line = f"{meta.stream.id} {type(event).__name__} {key}\n"
        with shift.ledger.open("ab", buffering=0) as ledger:
            os.write(ledger.fileno(), line.encode())  # one call, so that a kill leaves a line or none

    return app


def work(shift: Shift) -> None:
    """Work until ended."""
    asyncio.run(_work(shift))


async def _work(shift: Shift) -> None:
    async with made(shift, is_worker=True):
        await asyncio.Event().wait()
