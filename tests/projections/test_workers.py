"""P5: several workers on one store spread the lanes, and take over from each other; only the last epoch writes."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from diptych.errors import StaleReadError, StoreUnavailableError
from diptych.store.protocols import ViewStore
from tests.projections import shop
from tests.projections.harmful import board_where, child, owners
from tests.projections.running import Running, running
from tests.projections.shop import Fact
from tests.projections.test_liveness import Around
from tests.urls import url_for

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


def baskets(orders: int, lines: int = 1) -> list[Fact]:
    """So many new orders, with so many lines each."""
    facts: list[Fact] = []
    for number in range(orders):
        one = shop.order(str(number))
        facts += [(one, shop.placed()), *[(one, shop.added())] * lines]
    return facts


class Silenced(Around):
    """A view store through which no beat comes, for as long as `is_silent`: its worker is thought to be dead."""

    is_silent = False

    @property
    def leases(self) -> Any:
        return Beats(self.inner.leases, self)


class Beats(Around):
    def __init__(self, inner: Any, of: Silenced) -> None:
        super().__init__(inner)
        self.of = of

    async def beat(self, *given: Any, **more: Any) -> Any:
        if self.of.is_silent:
            raise StoreUnavailableError("nothing comes through")
        return await self.inner.beat(*given, **more)


async def test_lanes_are_spread_over_two_workers_and_come_back_when_one_stops(url: str) -> None:
    async with running(url, shop.Baskets) as one:
        await one.append(baskets(40))
        await one.engine.caught_up()
        async with running(url, shop.Baskets) as two:
            shared = await board_where(one.views, lambda board: _sizes(owners(board, "baskets")) == [8, 8])
            assert len(shared.workers) == 2
            last = await one.append([(shop.order(str(n)), shop.added()) for n in range(40)])
            for each in (one, two):
                assert await each.engine.progress["baskets"].wait_for(last.position, 5.0)
                assert {row.items for row in (await each.rows(shop.Basket)).values()} == {2}
        await board_where(one.views, lambda board: _sizes(owners(board, "baskets")) == [16])


async def test_lanes_that_a_worker_does_not_know_it_has_are_let_go_of(url: str) -> None:
    """P5, P7: a claim took effect and its answer was lost, and what is to be whose has changed since."""
    async with running(url, shop.Baskets) as one, running(url, shop.Baskets) as two:
        board = await board_where(one.views, lambda board: _sizes(owners(board, "baskets")) == [8, 8])
        lanes = [row.lane for row in board.lanes if row.owner == _id(two)]
        await one.views.leases.release(_id(two), "baskets", board.generations[0].number, lanes)
        assert len(await one.views.leases.claim(_id(one), "baskets", board.generations[0].number, lanes)) == 8
        last = await one.append(baskets(40))
        for each in (one, two):
            assert await each.engine.progress["baskets"].wait_for(last.position, 5.0)
        assert len(await one.rows(shop.Basket)) == 40


async def test_two_start_at_once_and_every_projection_is_worked_on(url: str) -> None:
    given = (shop.Baskets, shop.Sales, shop.Orders)
    async with running(url, *given) as one, running(url, *given) as two:
        await board_where(one.views, lambda board: _sizes(owners(board, "baskets")) == [8, 8])
        await two.append(baskets(20, 3))
        await one.engine.caught_up()
        await two.engine.caught_up()
        assert (await one.rows(shop.ProductSales))["pen"].sold == 60


async def test_what_a_silent_worker_had_is_taken_over_and_its_late_writes_do_nothing(url: str) -> None:
    """P5: it believes that it owns the lanes for as long as nobody tells it; its epoch is over all the same."""
    wrapped: list[Silenced] = []

    def wrap(views: ViewStore) -> ViewStore:
        wrapped.append(Silenced(views))
        return wrapped[0]

    async with running(url, shop.SalesBySql, wrap_views=wrap) as zombie:
        await zombie.append(baskets(5))
        await zombie.engine.caught_up()
        wrapped[0].is_silent = True
        async with running(url, shop.SalesBySql) as heir:
            await board_where(heir.views, lambda board: board.lanes[0].owner == _id(heir))
            for _ in range(20):
                await heir.append([(shop.order("1"), shop.added())])
            await heir.engine.caught_up()
            wrapped[0].is_silent = False
            await zombie.engine.caught_up()
            assert (await heir.rows(shop.HandWritten))["pen"].lines == 25


async def test_a_worker_whose_process_was_killed_is_missed_at_once_on_its_machine(url: str) -> None:
    """Its lease would be over much later."""
    async with running(url, shop.Baskets) as shop_, child("work", url, "isolated", "lasting") as process:
        board = await board_where(shop_.views, lambda board: _sizes(owners(board, "harmful")) == [16])
        theirs = owners(board, "harmful")[0]
        assert theirs in {worker.id for worker in board.workers}
        process.kill()
        await process.wait()
        await board_where(shop_.views, lambda seen: theirs not in {one.id for one in seen.workers}, 5)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_worker_stopped_past_its_lease_writes_nothing_when_it_wakes(url: str) -> None:
    """P5, with real processes: SIGSTOP, another takes over, SIGCONT; every line is counted once.

    Stopped while it holds the lock of a file, it keeps everybody from writing; that happens, so not every time counts.
    """
    lines, times = 0, 0
    async with running(url, shop.Baskets, shop.Sales, shop.SalesBySql) as shop_, child("follow", url) as process:
        for _ in range(4):
            await board_where(shop_.views, lambda board: len(board.workers) == 2)
            for number in range(30):
                one = shop.order(str(number))
                await shop_.append([(one, shop.placed()), (one, shop.added())])
                lines += 1
                if number == 10:
                    os.kill(process.pid, signal.SIGSTOP)
            await board_where(shop_.views, lambda board: len(board.workers) < 2)
            with suppress(StaleReadError):
                await shop_.engine.caught_up(3)
                times += 1
            os.kill(process.pid, signal.SIGCONT)
        await board_where(shop_.views, lambda board: len(board.workers) == 2)
        await shop_.engine.caught_up(10)
        assert times > 0
        assert (await shop_.rows(shop.HandWritten))["pen"].lines == lines
        assert (await shop_.rows(shop.ProductSales))["pen"].sold == lines
        assert len(await shop_.rows(shop.Basket)) == 30


async def test_beats_that_fail_for_a_while_park_nothing_and_stop_nothing(url: str) -> None:
    wrapped: list[Silenced] = []

    def wrap(views: ViewStore) -> ViewStore:
        wrapped.append(Silenced(views))
        return wrapped[0]

    async with running(url, shop.Baskets, wrap_views=wrap) as shop_:
        wrapped[0].is_silent = True
        await board_where(shop_.views, lambda board: not board.workers)
        await shop_.append(baskets(10))
        await shop_.engine.caught_up()  # nobody else wants the lanes
        wrapped[0].is_silent = False
        await board_where(shop_.views, lambda board: len(board.workers) == 1)
        await shop_.append([(shop.order("1"), shop.added())])
        await shop_.engine.caught_up()
        assert shop_.engine.progress["baskets"].state == "running"
        assert await shop_.views.parked("baskets") == []


def _id(shop_: Running) -> str:
    return shop_.engine.worker


def _sizes(owned: list[str]) -> list[int]:
    return sorted(owned.count(worker) for worker in set(owned) if worker)
