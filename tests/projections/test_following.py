"""One projection over its generations: what is run of it, and when."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from diptych.app.standing import stand
from diptych.errors import StoreFullError
from diptych.projections.definition import define
from diptych.store.batches import Checkpoint
from diptych.store.protocols import Head, ViewStore
from diptych.store.seen import Seen
from tests.projections import shop
from tests.projections.harmful import board_where, until
from tests.projections.rebuilds import KEEPING, StrictBySql, orders, rebuild, subject_of
from tests.projections.running import applied, running
from tests.projections.shop import HandWritten
from tests.projections.test_generations import Doubled, Tallies, Tripled
from tests.projections.test_liveness import Around

pytestmark = pytest.mark.anyio


class Slow(Around):
    """A view store in which lanes are let go of only when `may` says so."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.may, self.asked = asyncio.Event(), asyncio.Event()
        self.may.set()

    @property
    def leases(self) -> Any:
        return SlowRelease(self.inner.leases, self)


class SlowRelease(Around):
    def __init__(self, inner: Any, of: Slow) -> None:
        super().__init__(inner)
        self.of = of

    async def release(self, *given: Any, **more: Any) -> None:
        self.of.asked.set()
        await self.of.may.wait()
        await self.inner.release(*given, **more)


async def test_a_generation_that_is_rolled_back_to_at_once_keeps_its_lanes() -> None:
    """P5: who had them for what was read before lets go of them late, and not of those that were taken again."""
    kept: list[Slow] = []

    def wrap(views: ViewStore) -> ViewStore:
        kept.append(Slow(views))
        return kept[0]

    async with running("memory:", shop.Sales, rules=KEEPING, wrap_views=wrap) as shop_:
        subject, slow = subject_of(shop_, shop.Sales), kept[0]
        await shop_.append([(shop.order("1"), shop.added())])
        await shop_.engine.caught_up()
        made = await rebuild(subject)
        assert made.old is not None
        await until(lambda: shop_.engine.progress["sales"].generation == made.new.number)
        await board_where(shop_.views, lambda board: owners_of(board, made.new.number) != {""})
        slow.may.clear()
        slow.asked.clear()
        await shop_.views.generations.swap("sales", made.old.number)
        await slow.asked.wait()
        await shop_.views.generations.swap("sales", made.new.number)
        await until(lambda: shop_.engine.progress["sales"].generation == made.new.number)
        await shop_.engine.look()
        slow.may.set()
        last = await shop_.append([(shop.order("1"), shop.added())])
        assert await shop_.engine.progress["sales"].wait_for(last.position, 5.0)
        await asyncio.sleep(0)
        assert owners_of(await shop_.views.leases.board(), made.new.number) == {shop_.engine.worker}


def owners_of(board: Any, generation: int) -> set[str]:
    return {row.owner for row in board.lanes if row.generation == generation}


async def test_a_build_that_stops_is_told_and_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    """R1: it was told as being built, and as read meanwhile, for ever."""
    url = f"sqlite:///{tmp_path}/shop.db"
    await applied(url, shop.SalesBySql, orders(4))
    StrictBySql.is_mended = False
    async with running(url, StrictBySql, rules=KEEPING) as after:
        progress = after.engine.progress["sales_by_sql"]
        await until(lambda: "and that stopped" in (progress.error or ""))
        assert progress.state == "frozen"
        assert "and that stopped: sales_by_sql failed on position 11 (Added)" in (progress.error or "")
        assert progress.will_not_move
        board = await after.views.leases.board()
        seen = Seen("sales_by_sql", Checkpoint(), None, [], board)
        outside = stand(define(StrictBySql), seen, Head(), 0.0)  # by another machine's `diptych status`, say
        assert (outside.state, outside.error) == ("frozen", progress.error)
    StrictBySql.is_mended = True
    async with running(url, StrictBySql, rules=KEEPING) as mended:
        await mended.engine.caught_up()
        assert (await mended.rows(HandWritten))["thing 3"].lines == 2


class Full(Around):
    """A view store in which nothing more can be built."""

    @property
    def generations(self) -> Any:
        return FullDisk(self.inner.generations)


class FullDisk(Around):
    async def begin(self, *_: Any) -> None:
        raise StoreFullError("no space left")


async def test_where_nothing_can_be_built_what_is_read_is_worked_on(tmp_path: Path) -> None:
    """X2: with changed code in development, say, and a full disk, or a lock that is not to be had."""
    url = f"sqlite:///{tmp_path}/shop.db"
    await applied(url, Tallies, [(shop.order("1"), shop.added())])
    rules = KEEPING._replace(is_development=True)
    async with running(url, Tripled, rules=rules, wrap_views=Full) as full:
        last = await full.append([(shop.order("1"), shop.added())])
        progress = full.engine.progress["tallies"]
        assert await progress.wait_for(last.position, 5.0)
        for _ in range(3):
            await full.engine.look()
        assert full.engine.followings["tallies"].has_lanes


async def test_where_nothing_can_be_built_rows_of_other_code_are_told_as_such(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    await applied(url, Tallies, [(shop.order("1"), shop.added())])
    async with running(url, Doubled, rules=KEEPING, wrap_views=Full) as full:
        progress = full.engine.progress["tallies"]
        await until(lambda: progress.state == "frozen")
        assert progress.error is not None
        assert progress.error.endswith("cannot be built again yet: no space left. It is tried again.")
        assert not progress.will_not_move
