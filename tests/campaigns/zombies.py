"""Workers that are stopped past their lease and wake up, or are killed, while others write: who writes what, when."""

import asyncio
import fcntl
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import anyio

from diptych.projections.site import Rules
from diptych.store.leases import Board, Worker
from diptych.stream import StreamName
from diptych.subscriptions.reading import Pace
from tests.campaigns.crew import PATIENCE, Crew, Ledger, crew, is_stopped, owned, pid_of
from tests.campaigns.labours import PROJECTIONS, Labour, work
from tests.projections import shop
from tests.projections.naive import naive_sales
from tests.projections.running import Running, by_key, running
from tests.projections.shop import Fact

WORKERS: Final = 3
_ORDERS: Final = 40
_PRODUCTS: Final = ("pen", "ink", "pad")


class Trial:
    """A store that writers append to and a crew works on, seen by a process that does neither."""

    def __init__(self, seen: Running, hands: Crew, labour: Labour, random: Random) -> None:
        self.seen, self.hands, self.labour, self.random = seen, hands, labour, random
        self.ledger = Ledger()
        self._facts: list[Fact] = []
        self._known = 0  # the position up to which those are the log
        self._pen, self._looking, self.is_over = asyncio.Lock(), asyncio.Lock(), False

    @property
    def refused(self) -> int:
        """How many commits were refused, for their epoch or place was over."""
        noted = self.labour.folder / "refused"
        return len(noted.read_text().splitlines()) if noted.exists() else 0

    async def write(self, number: int) -> None:
        """Append until it is over, and hold still for a check."""
        mine = [shop.order(f"{number}-{one}") for one in range(_ORDERS)]
        await self.seen.append([(one, shop.placed()) for one in mine])
        while not self.is_over:
            lines = [shop.added(self.random.choice(_PRODUCTS), self.random.randrange(1, 5)) for _ in range(3)]
            async with self._pen:
                await self.seen.append([(self.random.choice(mine), line) for line in lines])
            await asyncio.sleep(0.004)

    async def watch(self) -> None:
        """Look at the lanes as often as can be. :raises AssertionError: what was seen cannot be."""
        while not self.is_over:
            await self.board()
            await asyncio.sleep(0.02)

    async def board(self) -> Board:
        """Look at the lanes, one after another, so that what was seen later is later."""
        async with self._looking:
            board = await self.seen.views.leases.board()
            self.ledger.saw(board)
        return board

    async def board_where(self, is_so: Callable[[Board], bool], seconds: float = PATIENCE) -> Board:
        """Return the board as soon as it is so. :raises TimeoutError: with what it is instead."""
        deadline = time.monotonic() + seconds
        while not is_so(board := await self.board()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds:g} s: {board}")
            await asyncio.sleep(0.005)
        return board

    async def check(self) -> None:
        """All that was written is applied, once. :raises AssertionError:"""
        async with self._pen:
            await self.seen.engine.caught_up(PATIENCE)
            facts = await self._log()
            rows = await self.seen.rows(shop.ProductSales)
            assert rows == by_key(naive_sales(facts)["product_sales"]), f"{rows} is not what was sold (P1, P5)"
            baskets, right = await self.seen.rows(shop.Basket), naive_baskets(facts)
            wrong = {id: (baskets.get(id), right.get(id)) for id in baskets.keys() | right}
            wrong = {id: (kept, made) for id, (kept, made) in wrong.items() if kept != made}
            assert not wrong, f"{wrong}: these baskets are not as the log has them (P1, P5)"
            lines = {product: row.lines for product, row in (await self.seen.rows(shop.HandWritten)).items()}
            sold = [event.product for _, event in facts if isinstance(event, shop.Added)]
            assert lines == {each: sold.count(each) for each in set(sold)}, f"{lines} are not the lines (P1, P5)"

    async def _log(self) -> Sequence[Fact]:
        """What is in the log, read by itself."""
        while (page := await self.seen.events.read_log(after=self._known)).events:
            read = self.seen.codec.reading(page.events)
            self._facts += [
                (StreamName(row.tenant, row.category, UUID(row.stream_id)), read(at))
                for at, row in enumerate(page.events)
            ]
            self._known = page.scanned
        return self._facts


def naive_baskets(facts: Sequence[Fact]) -> dict[UUID, shop.Basket]:
    """What is in each order, in the plainest way."""
    totals: dict[UUID, tuple[Decimal, int]] = {}
    for stream, event in facts:
        total, items = totals.get(stream.id, (Decimal(0), 0))
        if isinstance(event, shop.Added):
            total, items = total + event.quantity * event.price, items + event.quantity
        totals[stream.id] = (total, items)
    return {id: shop.Basket(id=id, total=total, items=items) for id, (total, items) in totals.items()}


@asynccontextmanager
async def trial(url: str, random: Random, lease: float, **more: Any) -> AsyncIterator[Trial]:
    """A crew that works while two write; judged by its lanes all the while, and by its rows at the end."""
    pace = Pace(poll=0.2, save=0.1, first_pause=0.01, longest_pause=0.2, lease=lease)
    with tempfile.TemporaryDirectory() as name:
        labour = Labour(url, Path(name), lease, **more)
        async with running(url, *PROJECTIONS, rules=Rules(pace, is_worker=False)) as seen:
            with crew(WORKERS, work, labour) as hands:
                one = Trial(seen, hands, labour, random)
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one.write(number)) for number in range(2)]
                    tasks.append(group.create_task(one.watch()))
                    await one.board_where(spread)
                    yield one
                    one.is_over = True
                await one.check()


def spread(board: Board) -> bool:
    """Whether all lanes are worked on, those of the isolated one by all workers in equal parts."""
    living = {worker.id for worker in board.workers}
    sizes = sorted(len([lane for name, lane in owned(board, one) if name == "baskets"]) for one in living)
    return sizes == [5, 5, 6] and all(row.owner in living for row in board.lanes)


class Zombies(NamedTuple):
    """What came of stopping and waking workers; `held` of them were stopped holding the lock of SQLite's file."""

    rounds: int
    refused: int
    held: int
    claims: int

    def __str__(self) -> str:
        return (
            f"{self.rounds} zombies, {self.refused} late commits, none took effect; lanes changed hands {self.claims} "
            f"times, {self.held} were stopped with the file locked"
        )


Moment = Literal["any", "before", "inside"]
"""When a worker is stopped: at any moment; between having folded a batch and committing it; inside the transaction."""


async def stop_and_wake(
    url: str, moments: Iterable[Moment], random: Random, lease: float = 0.3, *, forges: bool = False
) -> Zombies:
    """Stop a worker past its lease, wait until others have its lanes and have moved on, and wake it. (P5)"""
    rounds = held = 0
    async with trial(url, random, lease, forges=forges) as one:
        for moment in moments:
            board = await one.board_where(spread)
            if moment == "inside":
                victim = next(each for each in board.workers if ("sales_by_sql", 0) in owned(board, each.id))
            else:
                victim = random.choice(board.workers)
            await _stop(one, pid_of(victim), moment)
            held += await _outlived(one, victim)
            one.hands.wake(pid_of(victim))
            await one.board_where(spread)
            await one.check()
            rounds += 1
        return Zombies(rounds, one.refused, held, one.ledger.claims)


async def _stop(one: Trial, pid: int, moment: Moment) -> None:
    if moment == "any":
        await asyncio.sleep(one.random.random() * one.labour.lease)
        one.hands.stop(pid)
        return
    (one.labour.folder / f"{moment}.{pid}").touch()
    with anyio.fail_after(PATIENCE):
        while not is_stopped(pid):  # noqa: ASYNC110 - it is looked at, not told
            await asyncio.sleep(0.001)


async def _outlived(one: Trial, victim: Worker) -> bool:
    """Wait until others have moved on with all it had; True: it holds the lock of SQLite's file, so nobody can."""
    before = await one.board()
    theirs = set(owned(before, victim.id))
    places = {(row.projection, row.lane): row.checkpoint.position for row in before.lanes}

    def is_over(board: Board) -> bool:
        living = {worker.id for worker in board.workers}
        return victim.id not in living and all(
            row.owner in living and row.checkpoint.position > places[row.projection, row.lane]
            for row in board.lanes
            if (row.projection, row.lane) in theirs
        )

    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            await one.board_where(is_over, one.labour.lease * 5)
        except TimeoutError:
            if _is_locked(one.labour.url):
                return True
            if time.monotonic() > deadline:
                raise
        else:
            return False


def _is_locked(url: str) -> bool:
    """Whether somebody is writing to SQLite's file of rows, or is the next to, and does not get on."""
    if not url.startswith("sqlite:"):
        return False
    path = url.removeprefix("sqlite:///").partition("?")[0].removesuffix(".db") + ".views.db-writer"
    deadline = time.monotonic() + 1
    with Path(path).open("r+") as turn:
        while time.monotonic() < deadline:
            with suppress(BlockingIOError):
                fcntl.lockf(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
            time.sleep(0.001)
    return True


class Takeovers(NamedTuple):
    """Seconds from each kill until others had all its lanes, and until they had applied all that was in the log."""

    claimed: list[float]
    recovered: list[float]

    def __str__(self) -> str:
        return f"{len(self.claimed)} kills: taken over in {_spell(self.claimed)}, caught up in {_spell(self.recovered)}"


def _spell(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.2f} s (at most {max(seconds):.2f} s)"


async def kill_and_take_over(
    url: str, rounds: int, random: Random, lease: float, *, is_elsewhere: bool = False
) -> Takeovers:
    """Kill a worker without warning, see others take over, and start another in its place."""
    found = Takeovers([], [])
    async with trial(url, random, lease, is_elsewhere=is_elsewhere) as one:
        for _ in range(rounds):
            pid = random.choice(one.hands.pids)
            await asyncio.sleep(random.random() * lease / 2)
            before = {worker.id for worker in (await one.board_where(spread)).workers}
            head = (await one.seen.events.head()).position
            began = time.monotonic()
            one.hands.kill(pid)
            await one.board_where(partial(_two_of, before))
            found.claimed.append(time.monotonic() - began)
            for progress in one.seen.engine.progress.values():
                assert await progress.wait_for(head, PATIENCE), f"{progress.name} did not reach {head}"
            found.recovered.append(time.monotonic() - began)
            await one.check()
            one.hands.start()
            await one.board_where(spread)
    return found


def _two_of(before: set[str], board: Board) -> bool:
    """Whether all lanes are those of all but one of these workers."""
    living = {worker.id for worker in board.workers}
    return len(living) == WORKERS - 1 and living < before and all(row.owner in living for row in board.lanes)
