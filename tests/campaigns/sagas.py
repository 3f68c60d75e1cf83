"""Workers that carry orders are killed and stopped at random; in the end every order went one way, and only once."""

import asyncio
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple
from uuid import UUID

from diptych import App, Command, new_id
from diptych.errors import ConflictError, StoreError, UnknownOutcomeError
from diptych.events.recorded import RecordedEvent
from diptych.sagas.row import SagaRow, saga_table
from diptych.sagas.stepped import SagaStepped
from diptych.store.tables import Table
from diptych.subscriptions.tasks import tasks_table
from tests.campaigns.crew import PATIENCE, Crew, crew
from tests.campaigns.fulfilling import PATIENCE as OF_AN_ORDER
from tests.campaigns.fulfilling import Shift, made, work
from tests.sagas.shop import (
    AddStock,
    OrderCancelled,
    OrderPaid,
    OrderPlaced,
    OrderShipped,
    PayOrder,
    PlaceOrder,
    StockReleased,
    StockReserved,
)

WORKERS: Final = 3
_ORDERS: Final = 8  # in each round
_DUE: Final = int(OF_AN_ORDER.total_seconds() * 1_000_000)


class Found(NamedTuple):
    """What came of it."""

    orders: int
    shipped: int
    unpaid: int
    refused: int
    receipts: int
    repeated: int
    kills: int
    stops: int

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.stops} stops past the lease; {self.orders} orders: {self.shipped} shipped, "
            f"{self.unpaid} cancelled in time, {self.refused} refused, each once; {self.receipts} receipts, "
            f"{self.repeated} of them again under their key"
        )


class Customers:
    """Place orders, and pay for some of them at once; `paying` are those that will be."""

    def __init__(self, app: App, random: Random) -> None:
        self._app, self._random = app, random
        self.products, self.sold_out = [new_id() for _ in range(3)], new_id()
        self.placed: list[UUID] = []

    async def fill_shelves(self) -> None:
        """Have enough of what there is."""
        for product in self.products:
            await self._send(AddStock(product_id=product, quantity=1_000_000))

    async def shop(self) -> None:
        """Place some orders at the same time."""
        await asyncio.gather(*[self._order() for _ in range(_ORDERS)])

    async def _order(self) -> None:
        order, has_stock = new_id(), self._random.random() < 0.85
        product = self._random.choice(self.products) if has_stock else self.sold_out
        is_paid, pause = has_stock and self._random.random() < 0.6, self._random.random() / 4
        await self._send(PlaceOrder(order_id=order, product_id=product, quantity=1))
        self.placed.append(order)
        if is_paid:
            await asyncio.sleep(pause)
            await self._send(PayOrder(order_id=order))

    async def _send(self, command: Command[Any]) -> None:
        """Send it until it is answered, under one id."""
        id = new_id()
        while True:
            try:
                await self._app.commands.dispatch(command, command_id=id)
            except (StoreError, UnknownOutcomeError, ConflictError):
                await asyncio.sleep(0.02)
            else:
                return


async def fulfil_under_kills(url: str, rounds: int, random: Random, lease: float = 0.5) -> Found:
    """Place orders while workers are killed or stopped past their lease, and judge what came of each order."""
    with tempfile.TemporaryDirectory() as name:
        shift = Shift(url, Path(name) / "ledger", lease)
        await asyncio.to_thread(shift.ledger.touch)
        async with made(shift, is_worker=False) as app:
            customers = Customers(app, random)
            await customers.fill_shelves()
            with crew(WORKERS, work, shift) as hands:
                kills = sum([await _round(hands, customers, random, lease) for _ in range(rounds)])
                await _settled(app)
            receipts = [line.split() for line in await asyncio.to_thread(_lines, shift.ledger)]
            return await judge(app, receipts, customers.placed, (kills, rounds - kills))


async def _round(hands: Crew, customers: Customers, random: Random, lease: float) -> bool:
    """Have something happen to one worker while orders are placed. True: it was killed."""
    victim, is_killed = random.choice(hands.pids), random.random() < 0.6
    shopping = asyncio.create_task(customers.shop())
    await asyncio.sleep(random.random() * 0.4)
    if is_killed:
        hands.kill(victim)
        hands.start()
    else:
        hands.stop(victim)
        await asyncio.sleep(lease * (0.5 + 2 * random.random()))
        hands.wake(victim)
    await shopping
    return is_killed


async def _settled(app: App) -> None:
    """Return when nothing is left to do, and nothing waits for a time."""
    tables = [tasks_table("Fulfilment"), tasks_table("write_receipt")]
    async with asyncio.timeout(PATIENCE):
        while True:
            head = (await app.events.head()).position
            board = await app.events.inline.leases.board()
            is_read = all(row.checkpoint.position >= head for row in board.lanes)
            is_done = not [task for table in tables for task in await rows(app, table, "state IN ('waiting', 'taken')")]
            if is_read and is_done:
                return
            await asyncio.sleep(0.1)


async def rows(app: App, table: Table, where: str) -> list[Any]:
    """Rows of a saga or a reaction."""
    async with app.events.inline.reader() as session:
        columns = ", ".join(column.name for column in table.columns)
        return list(session.decode(table, await session.fetch(f"SELECT {columns} FROM {table.name} WHERE {where}", {})))


async def judge(app: App, receipts: list[list[str]], placed: list[UUID], troubles: tuple[int, int]) -> Found:
    """Hold all that is left against the log. :raises AssertionError: and names the invariant."""
    log = [recorded async for recorded in _log(app)]
    sagas = {row.id: row for row in await rows(app, saga_table("Fulfilment"), "1 = 1")}
    parked = await rows(app, tasks_table("Fulfilment"), "state = 'parked'")
    assert not parked, f"put aside: {parked[:3]}"
    of_order: dict[UUID, list[RecordedEvent]] = defaultdict(list)
    for recorded in log:
        stock = isinstance(recorded.event, StockReserved | StockReleased)
        of_order[recorded.event.order_id if stock else recorded.row.stream.id].append(recorded)
    ends = Counter(_end(order, of_order[order], sagas[order]) for order in placed)
    _check_receipts(receipts, log)
    kept = len({key for _, _, key in receipts})
    repeated = len(receipts) - kept
    return Found(len(placed), ends["shipped"], ends["unpaid"], ends["refused"], kept, repeated, *troubles)


def _lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines()


async def _log(app: App) -> Any:
    after = 0
    while (page := await app.events.read_log(after=after)).events:
        for row in page.events:
            yield app.codec.recorded(row)
        after = page.scanned


def _end(order: UUID, history: list[RecordedEvent], saga: SagaRow) -> str:
    """Say which way an order went. :raises AssertionError: it went both, or one twice."""
    counts = Counter(type(one.event) for one in history)
    what = f"order {order}: {[one.row.type for one in history]}"
    own = (OrderPlaced, OrderPaid, OrderShipped, OrderCancelled, StockReserved, StockReleased)
    assert all(counts[kind] <= 1 for kind in own), f"{what}: a command took effect twice (S1)"
    last = [one.event.status for one in history if isinstance(one.event, SagaStepped)]
    assert saga.status == "completed", f"{what}: its saga is {saga.status}: {saga.error} (S1)"
    assert last.count("completed") == 1, f"{what}: completed {last.count('completed')} times (S4)"
    at = {type(one.event): one.row.recorded_at for one in history}
    was_paid = OrderPaid in at and at[OrderPaid] <= at[OrderPlaced] + _DUE
    if was_paid:
        assert OrderShipped in at, f"{what}: it was paid in time, and not shipped (S1)"
        assert OrderCancelled not in at, f"{what}: it was paid in time, and cancelled (S2)"
        return "shipped"
    assert OrderCancelled in at or OrderPaid in at, f"{what}: it was not paid, and not cancelled (S2)"
    if OrderPaid in at:
        return "paid late"
    assert counts[StockReserved] == counts[StockReleased], f"{what}: its stock was not released (S1)"
    if StockReserved not in at:
        return "refused"
    assert at[OrderCancelled] >= at[OrderPlaced] + _DUE, f"{what}: it was cancelled before its time (S2)"
    return "unpaid"


def _check_receipts(receipts: Iterable[list[str]], log: list[RecordedEvent]) -> None:
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    first: dict[str, list[str]] = defaultdict(list)
    for order, event, key in receipts:
        if event not in first[order]:
            first[order].append(event)
        keys[order, event].add(key)
    told = (OrderPlaced, OrderShipped, OrderCancelled)
    wanted: dict[str, list[str]] = defaultdict(list)
    for recorded in log:
        if isinstance(recorded.event, told):
            wanted[str(recorded.row.stream.id)].append(recorded.row.type)
    assert first == wanted, f"{_differences(first, wanted)}: receipts are missing, or not in the order of the log (S1)"
    assert all(len(each) == 1 for each in keys.values()), "one event was reacted to under two keys (S1)"
    assert len({key for each in keys.values() for key in each}) == len(keys), "two events have one key (S1)"


def _differences(one: dict[str, list[str]], other: dict[str, list[str]]) -> list[Any]:
    names = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
    return [(name, one.get(name), other.get(name)) for name in names[:3]]
