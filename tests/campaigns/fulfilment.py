"""Orders that are paid in advance, while their provider fails, hangs, declines and repeats, and workers are killed.

The workers are processes; this one has the customers and the provider, and reads the log until every order has ended.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final, NamedTuple
from uuid import UUID

import httpx
from fastapi import FastAPI

from diptych import App, Command, ConflictError, DomainError, UnknownOutcomeError, id_for
from diptych.app.tuning import Tuning
from diptych.errors import StoreError
from examples.demo.server import HOST, serving
from examples.orders import charging, checkout, customers, fulfilment, inventory, orders, payments, receipts
from examples.orders.fake_provider import PERFECT, FakeProvider, Manners, make_provider
from examples.orders.provider import PaymentProvider, provider_at
from examples.orders.values import Address, OrderItem
from tests.campaigns.crew import PATIENCE, Crew, crew
from tests.campaigns.fulfilled import Ledger, judge
from tests.campaigns.jars import PACE

PARTS: Final = (customers, inventory, orders, checkout, payments, fulfilment, charging, receipts)
MANNERS: Final = Manners(fails=0.15, declines=0.05, hangs=0.04, repeats=0.2)
PRODUCTS: Final = [id_for("campaign", f"product {number}") for number in range(20)]
ADA, HOME = id_for("campaign", "ada"), Address(country="United Kingdom")


Say = Callable[[str], None]


class Plan(NamedTuple):
    """How many orders, by how many workers, one of which is killed every so many events of the log, on average."""

    orders: int = 5000
    workers: int = 3
    every: int = 150
    seed: int = 1
    under_way: int = 50  # orders at a time
    patience: float = 2.0  # an order that is not paid after so many seconds is cancelled


class Worker(NamedTuple):
    """What a process that works is told."""

    url: str
    provider: str
    patience: float


class HttpMailer:
    """Posts letters to who counts them."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, to: str, text: str, key: str) -> None:
        """Send it."""
        (await self._client.post("/letters", json={"to": to, "text": text, "key": key})).raise_for_status()


def app_of(worker: Worker, *, is_worker: bool) -> App:
    """The write side of the order service, with all that carries an order; not yet started."""
    app = App(worker.url, mode="production", tuning=Tuning(pace=PACE, runs_projections=is_worker))
    for part in PARTS:
        app.include(part.module)
    app.provide(PaymentProvider, provider_at(worker.provider, timeout=0.2))

    async def mailer() -> AsyncIterator[receipts.Mailer]:
        async with httpx.AsyncClient(base_url=worker.provider, timeout=PATIENCE) as client:
            yield HttpMailer(client)

    app.provide(receipts.Mailer, mailer)
    return app


@contextmanager
def waiting_for_money(seconds: float) -> Iterator[None]:
    """Have the orders of this process wait for so long, and others after them as long as they should."""
    shops = vars(fulfilment)["PATIENCE"]
    vars(fulfilment)["PATIENCE"] = timedelta(seconds=seconds)
    try:
        yield
    finally:
        vars(fulfilment)["PATIENCE"] = shops


def work(worker: Worker) -> None:
    """Carry orders until killed."""

    async def run() -> None:
        async with app_of(worker, is_worker=True):
            await asyncio.Event().wait()

    with waiting_for_money(worker.patience):
        asyncio.run(run())


async def send(app: App, command: Command[Any]) -> None:
    """Send a command until it is answered, as a client does that others were faster than, or that got no answer."""
    while True:
        try:
            await app.commands.dispatch(command)
            return
        except (ConflictError, StoreError, UnknownOutcomeError):
            await asyncio.sleep(0.02)


class Shop:
    """Customers who check out and some who think again; and what became of it, read from the log."""

    def __init__(self, app: App, plan: Plan, say: Say) -> None:
        self._app, self._random, self._say = app, Random(plan.seed), say
        self._under_way = asyncio.Semaphore(plan.under_way)
        self._moved = asyncio.Event()
        self.placed: set[UUID] = set()
        self.ledger = Ledger()
        self.position = 0

    async def open(self, count: int) -> None:
        """Stock the shelves, for nine of ten orders."""
        dispatch = self._app.commands.dispatch
        await dispatch(customers.RegisterCustomer(customer_id=ADA, name="Ada", address=HOME))
        for product in PRODUCTS:
            await dispatch(inventory.RegisterProduct(product_id=product, description="Something"))
            quantity = max(1, int(count * 2 * 2 * 0.9) // len(PRODUCTS))
            await dispatch(inventory.ReceiveStock(product_id=product, quantity=quantity))

    async def sell(self, count: int) -> None:
        """Take so many orders, only so many of them under way at once."""
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await self._under_way.acquire()
                group.create_task(self._one(id_for("campaign order", str(number))))

    async def _one(self, id: UUID) -> None:
        chosen = sorted(self._random.sample(PRODUCTS, 2))
        items = [
            OrderItem(product_id=each, quantity=self._random.randrange(1, 4), unit_price=Decimal("2.50"))
            for each in chosen
        ]
        self.placed.add(id)
        is_to_be_cancelled = self._random.random() < 0.1
        await send(self._app, checkout.CheckOut(order_id=id, customer_id=ADA, items=items, shipping_address=HOME))
        if is_to_be_cancelled:
            await asyncio.sleep(self._random.random())
            try:
                await send(self._app, orders.CancelOrder(order_id=id, reason="second thoughts"))
            except DomainError:
                return  # it has left, or is off

    async def follow(self) -> None:
        """Read the log as it grows; orders that have ended make room for others. :raises AssertionError: it stands."""
        moved_at = time.monotonic()
        while True:
            before, position = len(self.ledger.ended), self.position
            await self.read_all()
            if self.position > position:
                moved_at = time.monotonic()
                self._moved.set()
            for number in range(before, len(self.ledger.ended)):
                self._under_way.release()
                if (number + 1) % 500 == 0:
                    self._say(f"  {number + 1} orders have ended")
            left = [self.ledger.cases[id] for id in self.placed - self.ledger.ended]
            assert time.monotonic() < moved_at + PATIENCE, f"{len(left)} orders do not end: {left[:3]}"
            await self._app.events.wait(self.position, 0.2)

    async def read_all(self) -> None:
        """Read what is new."""
        while (page := await self._app.events.read_log(after=self.position, limit=1000)).events:
            for row in page.events:
                self.ledger.take(row, self._app.codec.decode(row))
            self.position = page.events[-1].position

    async def all_ended(self) -> None:
        """Return when every order has."""
        while len(self.ledger.ended) < len(self.placed):
            self._moved.clear()
            await self._moved.wait()


@asynccontextmanager
async def provider(made: FakeProvider, letters: list[str]) -> AsyncIterator[str]:
    """The URL of a provider that also takes letters."""
    api: FastAPI = make_provider(made)

    @api.post("/letters")
    async def take(letter: dict[str, str]) -> None:
        letters.append(letter["key"])

    async with serving(api, 0) as port:
        yield f"http://{HOST}:{port}"


class Killing:
    """Kills a worker at random and starts another, again and again: by what was done and not by the time it took."""

    def __init__(self, hands: Crew, shop: Shop, plan: Plan) -> None:
        self._hands, self._shop, self._random, self._most = hands, shop, Random(plan.seed), 2 * plan.every
        self.kills = 0

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            until = self._shop.position + self._random.randrange(1, self._most)
            while self._shop.position < until:  # noqa: ASYNC110 - it is looked at, not told
                await asyncio.sleep(0.005)
            await asyncio.to_thread(self._hands.kill, self._random.choice(self._hands.pids))
            await asyncio.to_thread(self._hands.start)
            self.kills += 1


async def fulfil(url: str, plan: Plan, made: FakeProvider | None = None, say: Say = lambda _: None) -> str:
    """Sell, kill and judge; says what became of the orders. :raises AssertionError: one did not end as it must."""
    letters, made, began = list[str](), made or FakeProvider(MANNERS, seed=plan.seed), time.monotonic()
    async with provider(made, letters) as provider_url:
        worker = Worker(url, provider_url, plan.patience)
        app = app_of(worker, is_worker=False)

        async def tell(payment: UUID, reference: str) -> None:
            await send(app, payments.RecordPayment(payment_id=payment, reference=reference))

        made.tell = tell
        async with app:
            shop = Shop(app, plan, say)
            await shop.open(plan.orders)
            kills = await _sell(shop, worker, plan)
            seconds = time.monotonic() - began
            made.manners = PERFECT
            with waiting_for_money(plan.patience):
                async with app_of(worker, is_worker=True) as last:
                    await last.settled(PATIENCE)
            await shop.read_all()
    ways = judge(shop.ledger, shop.placed, made.charges)
    received = sum(len(case.references) for case in shop.ledger.cases.values())
    assert len(set(letters)) == received, f"{received} payments, {len(set(letters))} letters"
    told = ", ".join(f"{count} {way}" for way, count in ways.most_common())
    asked = f"{made.requests} requests for {len(made.charges)} charges, {len(letters)} letters for {received} payments"
    return f"{sum(ways.values())} orders in {seconds:.0f} s, {kills} kills: {told}; {asked}"


async def _sell(shop: Shop, worker: Worker, plan: Plan) -> int:
    """Have all orders placed and ended under killing; returns how often somebody was killed."""
    with crew(plan.workers, work, worker) as hands:
        killing = Killing(hands, shop, plan)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(shop.follow()), group.create_task(killing.run())]
            await shop.sell(plan.orders)
            await shop.all_ended()
            for task in tasks:
                task.cancel()
    return killing.kills
