"""Orders that are paid in advance, in an app that is killed: one of each end; and how what is left is judged.

Rule: the provider's ledger is a file, written before it answers: whoever is killed in between does not know of it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from diptych import App, Command, DomainError, id_for
from diptych.app.tuning import Tuning
from examples.demo.paying import Letters
from examples.orders.checkout import CheckOut
from examples.orders.customers import RegisterCustomer
from examples.orders.fake_provider import Charge
from examples.orders.inventory import ReceiveStock, RegisterProduct
from examples.orders.orders import CancelOrder
from examples.orders.provider import Charged, Declined, PaymentProvider
from examples.orders.receipts import Mailer
from examples.orders.values import Address, OrderItem
from tests.campaigns.fulfilled import Ledger, judge
from tests.campaigns.fulfilment import PARTS
from tests.campaigns.jars import PACE
from tests.campaigns.stores import url_in

ADA, LAMP, HOME = id_for("crash", "ada"), id_for("crash", "lamp"), Address(country="Norway")
_UNWELCOME: Final = 7  # lamps; whoever orders so many has no cover
_REGRETTED: Final = 3  # lamps; whoever orders so many calls it off while it is being paid
_QUANTITIES: Final = (1, 2, _UNWELCOME, 1000, _REGRETTED)
_ENDS: Final = {"shipped": 2, "cancelled, declined": 1, "cancelled, other": 1, "cancelled, other, money given back": 1}


class FileProvider:
    """Writes down what it takes and gives back."""

    def __init__(self, path: Path, regret: Callable[[UUID], Awaitable[None]] | None = None) -> None:
        self._path, self._regret = path, regret

    async def charge(self, payment_id: UUID, amount: Decimal, key: str) -> Charged | Declined:
        """Take the money, once for a key."""
        if amount == _UNWELCOME:
            return Declined("no cover")
        lines = self._lines()
        known = next((one["reference"] for one in lines if one["key"] == key), None)
        reference = known or f"ch_{len(lines) + 1}"
        if known is None:
            self._write(key=key, reference=reference, payment=str(payment_id), amount=str(amount))
        if amount == _REGRETTED and self._regret is not None:
            await self._regret(payment_id)
        return Charged(reference)

    async def refund(self, reference: str, key: str) -> None:
        """Give it back, once for a key."""
        if not any(one["key"] == key for one in self._lines()):
            self._write(key=key, reference=f"back {key}", refund=reference)

    def charges(self) -> dict[str, Charge]:
        """All that was taken, by reference."""
        found: dict[str, Charge] = {}
        for line in self._lines():
            if "refund" in line:
                found[line["refund"]].refunds += 1
            else:
                found[line["reference"]] = Charge(UUID(line["payment"]), Decimal(line["amount"]), line["reference"])
        return found

    def _lines(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()] if self._path.exists() else []

    def _write(self, **line: str) -> None:
        with self._path.open("a") as file:
            file.write(f"{json.dumps(line)}\n")


def _app(directory: Path) -> App:
    app = App(url_in(directory), mode="production", tuning=Tuning(pace=PACE))
    for part in PARTS:
        app.include(part.module)

    async def regret(order: UUID) -> None:
        with suppress(DomainError):  # it is off already, in a second try
            await app.commands.dispatch(CancelOrder(order_id=order, reason="second thoughts"))

    app.provide(PaymentProvider, FileProvider(directory / "ledger", regret))
    app.provide(Mailer, Letters)
    return app


def _order(number: int) -> UUID:
    return id_for("crash order", str(number))


async def _send_all(app: App) -> None:
    """Send every command, under an id of its own that is the same in each run."""
    commands: list[Command[Any]] = [
        RegisterCustomer(customer_id=ADA, name="Ada", address=HOME),
        RegisterProduct(product_id=LAMP, description="Lamp"),
        ReceiveStock(product_id=LAMP, quantity=100),
    ]
    for number, quantity in enumerate(_QUANTITIES):
        lamps = OrderItem(product_id=LAMP, quantity=quantity, unit_price=Decimal("1.00"))
        commands.append(CheckOut(order_id=_order(number), customer_id=ADA, items=[lamps], shipping_address=HOME))
    for number, command in enumerate(commands):
        await app.commands.dispatch(command, command_id=id_for("crash command", str(number)))


def work(directory: Path) -> None:
    """Sell, and carry what was sold to its end."""

    async def run() -> None:
        async with _app(directory) as app:
            await _send_all(app)
            await app.settled(30)

    asyncio.run(run())


async def check(directory: Path) -> str:
    """Start again, send everything again, and judge once all has ended."""
    ledger = Ledger()
    async with _app(directory) as app:
        await _send_all(app)
        await app.settled(60)
        for row in (await app.events.read_log(after=0)).events:
            ledger.take(row, app.codec.decode(row))
    ways = judge(ledger, map(_order, range(len(_QUANTITIES))), FileProvider(directory / "ledger").charges())
    assert ways == _ENDS, ways
    return str(dict(ways))
