"""Plays a file of order lines through commands, dispatched on the bus in this process.

Every id and every command id is made of what the file says (`id_for`), so a second import of a file changes nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC
from decimal import Decimal
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic import ValidationError

from diptych import Command, CommandBus, ConflictError, DomainError, NotFoundError, id_for
from diptych.errors import CommandIdReusedError
from examples.demo.lines import Invoice, Line
from examples.demo.report import Report
from examples.orders.credit_notes import IssueCreditNote
from examples.orders.customers import RegisterCustomer
from examples.orders.inventory import ReceiveStock, RegisterProduct
from examples.orders.orders import MOST_ITEMS, AddOrderItem, CreateOrder
from examples.orders.values import Address, OrderItem

GUEST: Final = "guest"  # lines without a customer are booked on this one
_MANY: Final = 128  # commands under way at once that have nothing to do with each other: they share commits
_FEW: Final = 16  # invoices under way at once; those with a product in common wait for each other
_LARGEST_DELIVERY: Final = 100_000

Step = Callable[[str, int], None]
"""Called with the kind of step and how many were done."""


@cache
def customer_id(number: str) -> UUID:
    """The id of the customer with this number in the file; of the guest, when the number is empty."""
    return id_for("customer", number or GUEST)


@cache
def product_id(code: str) -> UUID:
    """The id of the product with this stock code."""
    return id_for("product", code)


def order_id(invoice: str) -> UUID:
    """The id of the order, or credit note, with this invoice number."""
    return id_for("invoice", invoice)


def item_of(line: Line) -> OrderItem:
    """Make an item of a line; a credit note's negative quantity counts up. :raises ValidationError:"""
    quantity = -line.quantity if line.invoice.startswith("C") else line.quantity
    return OrderItem(product_id=product_id(line.code), quantity=quantity, unit_price=line.price)


class Import:
    """One import of a file: register who and what is in it, fill the shelves, then order and credit."""

    def __init__(self, commands: CommandBus, invoices: Sequence[Invoice], step: Step) -> None:
        self._commands, self._invoices, self._step = commands.as_user("import"), invoices, step
        self._locks: defaultdict[UUID, asyncio.Lock] = defaultdict(asyncio.Lock)
        lines = [line for invoice in invoices for line in invoice.lines]
        described = sorted(lines, key=lambda line: not line.description)
        self._customers = _firsts(lines, lambda line: line.customer)
        self._products = _firsts(described, lambda line: line.code)
        self._needed = _needed(lines)
        self.report = Report(file_lines=len(lines), file_amount=sum((line.amount for line in lines), Decimal(0)))

    @property
    def sizes(self) -> dict[str, int]:
        """How many steps there will be of each kind."""
        return {
            "customers": len(self._customers),
            "products": len(self._products),
            "stock": len(self._needed),
            "lines": self.report.file_lines,
        }

    async def run(self) -> Report:
        """Import everything, in this order: customers, products, stock, then invoices as the file has them."""
        await self._at_once(_MANY, (self._register_customer(line) for line in self._customers))
        await self._at_once(_MANY, (self._register_product(line) for line in self._products))
        await self._at_once(_MANY, (self._receive(code, quantity) for code, quantity in self._needed.items()))
        await self._at_once(_FEW, (self._book(invoice) for invoice in self._invoices))
        return self.report

    async def _at_once(self, many: int, jobs: Iterable[Awaitable[None]]) -> None:
        """Run these jobs, so many at a time, begun in their order."""
        waiting = iter(jobs)

        async def work() -> None:
            for job in waiting:
                await job

        async with asyncio.TaskGroup() as group:
            for _ in range(many):
                group.create_task(work())

    async def _register_customer(self, line: Line) -> None:
        name = f"Customer {line.customer}" if line.customer else "Guest"
        command = RegisterCustomer(
            customer_id=customer_id(line.customer), name=name, address=Address(country=line.country[:200])
        )
        await self._register("customers", command, f"customer/{line.customer}")

    async def _register_product(self, line: Line) -> None:
        command = RegisterProduct(product_id=product_id(line.code), description=(line.description or line.code)[:200])
        await self._register("products", command, f"product/{line.code}")

    async def _register(self, what: str, command: Command[Any], key: str) -> None:
        try:
            await self._dispatch(what, command, key)
        except CommandIdReusedError:
            self.report.replayed += 1  # registered from another file, in other words
        self._step(what, 1)

    async def _receive(self, code: str, quantity: int) -> None:
        for start in range(0, quantity, _LARGEST_DELIVERY):
            amount = min(_LARGEST_DELIVERY, quantity - start)
            command = ReceiveStock(product_id=product_id(code), quantity=amount)
            await self._dispatch("deliveries", command, f"stock/{code}/{start}/{quantity}")
        self._step("stock", 1)

    async def _book(self, invoice: Invoice) -> None:
        parts = self._parts(invoice)
        if not parts:
            self.report.empty_invoices += 1
        async with AsyncExitStack() as stack:
            for product in sorted({product_id(line.code) for part in parts for line in part.lines}):
                await stack.enter_async_context(self._locks[product])
            for part in parts:
                try:
                    await self._dispatch(part.what, part.command, part.key)
                    self.report.accept(part.lines)
                except (DomainError, ConflictError, NotFoundError) as error:
                    self._refuse(part.lines, f"{type(error).__name__}: {error}")
        self._step("lines", len(invoice.lines))

    def _parts(self, invoice: Invoice) -> list["_Part"]:
        """Make commands of the lines that the domain accepts; count the others by its reason."""
        lines, items = [], []
        for line in invoice.lines:
            try:
                items.append(item_of(line))
                lines.append(line)
            except ValidationError as error:
                self._refuse([line], _reason(error))
        try:
            return list(_commands(invoice, lines, items)) if items else []
        except ValidationError as error:
            self._refuse(lines, _reason(error))
            return []

    def _refuse(self, lines: Sequence[Line], reason: str) -> None:
        for line in lines:
            self.report.refused[reason].add(line)

    async def _dispatch(self, what: str, command: Command[Any], key: str) -> None:
        receipt = await self._commands.dispatch(command, command_id=id_for("import", key))
        self.report.done[what] += not receipt.is_replay
        self.report.replayed += receipt.is_replay


class _Part(NamedTuple):
    """A command, the key of its id, and the lines it books."""

    what: str
    command: Command[Any]
    key: str
    lines: Sequence[Line]


def _commands(invoice: Invoice, lines: list[Line], items: list[OrderItem]) -> Iterator[_Part]:
    first, id, key = lines[0], order_id(invoice.number), f"invoice/{invoice.number}"
    customer, at = customer_id(first.customer), first.at.astimezone(UTC)
    if invoice.is_credit_note:
        note = IssueCreditNote(credit_note_id=id, customer_id=customer, items=items, issued_at=at)
        yield _Part("credit notes", note, key, lines)
        return
    order = CreateOrder(
        order_id=id,
        customer_id=customer,
        items=items[:MOST_ITEMS],
        shipping_address=Address(country=first.country[:200]),
        placed_at=at,
    )
    yield _Part("orders", order, key, lines[:MOST_ITEMS])
    for number in range(MOST_ITEMS, len(items)):
        yield _Part("items added", AddOrderItem(order_id=id, item=items[number]), f"{key}/{number}", [lines[number]])


def _firsts(lines: Iterable[Line], key: Callable[[Line], str]) -> list[Line]:
    """The first line of each customer, or product."""
    found: dict[str, Line] = {}
    for line in lines:
        found.setdefault(key(line), line)
    return list(found.values())


def _needed(lines: Iterable[Line]) -> dict[str, int]:
    """How many of each product must be on the shelf so that every order of the file can be filled."""
    needed: defaultdict[str, int] = defaultdict(int)
    for line in lines:
        if line.quantity > 0 and line.price > 0 and not line.invoice.startswith("C"):
            needed[line.code] += line.quantity
    return needed


def _reason(error: ValidationError) -> str:
    """Say what is wrong with a line, in words of the domain."""
    first = error.errors(include_url=False)[0]
    return f"{first['loc'][0]}: {first['msg'].removeprefix('Input ')}".replace("_", " ")
