"""P3: the live generation and a new one meet at one position, or it is soon known that they do not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from diptych.projections import levelling
from diptych.projections.backfill import Backfill, Subject
from diptych.projections.levelling import Levelling, _as_lanes
from diptych.store.generations import Comparison
from diptych.store.leases import Worker
from tests.projections import shop
from tests.projections.harmful import board_where, until
from tests.projections.rebuilds import PACE, differences, live, orders, rebuild, subject_of
from tests.projections.running import Running, running
from tests.projections.test_liveness import Around

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def built(subject: Subject) -> AsyncIterator[tuple[Backfill, Levelling]]:
    """Have a new generation built to the end of the log beside the live one."""
    new = await subject.views.generations.begin(subject.definition.tables)
    async with Backfill(subject, new.number) as builder:
        await builder.take(range(new.lanes))
        await builder.build((await subject.events.head()).position)
        yield builder, Levelling(subject, await live(subject), new)


def patient(shop_: Running) -> Subject:
    """What a rebuild works with that would hold the live one for a long time."""
    return subject_of(shop_, shop.Baskets, pace=PACE._replace(hold=1000.0))


async def test_a_live_one_that_is_behind_and_that_nobody_works_on_is_not_waited_for() -> None:
    async with running("memory:", shop.Baskets, is_started=False) as shop_:
        await shop_.append(orders(5))
        async with built(patient(shop_)) as (builder, level), asyncio.timeout(10):
            assert await level.compare(builder) is None


async def test_a_live_one_that_is_behind_and_has_a_worker_is_waited_for() -> None:
    async with running("memory:", shop.Baskets, is_started=False) as shop_:
        await shop_.append(orders(5))
        subject, asked = patient(shop_), list[str]()
        number, resume = (await live(subject)).number, shop_.views.leases.resume

        async def ask(*of: Any, **more: Any) -> None:
            asked.append("to go on")
            await resume(*of, **more)

        shop_.views.leases.resume = ask  # type: ignore[method-assign]
        await shop_.views.leases.beat(Worker("slow", "", frozenset([number])), 60.0)
        async with built(subject) as (builder, level), asyncio.timeout(10):
            comparing = asyncio.create_task(level.compare(builder))
            await until(lambda: len(asked) > 1)
            await shop_.engine.start()
            await board_where(shop_.views, lambda board: sum(number in one.takes for one in board.workers) > 1)
            await shop_.views.leases.leave("slow")
            compared = await comparing
        assert compared is not None
        assert compared.is_at_one_position


async def test_a_live_one_that_nobody_works_on_for_a_moment_is_waited_for() -> None:
    """As when the service is started anew meanwhile."""
    async with running("memory:", shop.Baskets, is_started=False) as shop_:
        await shop_.append(orders(5))
        subject = subject_of(shop_, shop.Baskets, pace=PACE._replace(hold=1000.0, lease=1000.0))
        async with built(subject) as (builder, level), asyncio.timeout(10):
            comparing = asyncio.create_task(level.compare(builder))
            await board_where(shop_.views, lambda board: bool(board.workers))
            await shop_.engine.start()
            assert (await comparing) is not None


class Slow(Around):
    """A view store that is done with a comparison only when what was compared may move again."""

    @property
    def generations(self) -> Any:
        return Comparing(self.inner.generations, self.inner)


class Comparing(Around):
    def __init__(self, inner: Any, views: Any) -> None:
        super().__init__(inner)
        self.views = views

    async def compare(self, *of: Any, **more: Any) -> Comparison:
        found: Comparison = await self.inner.compare(*of, **more)
        await board_where(self.views, lambda board: not board.paused)
        return found


async def test_what_is_compared_may_move_as_soon_as_the_snapshot_stands() -> None:
    """P6: comparing many rows takes its time."""
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append(orders(5))
        await shop_.engine.caught_up()
        subject = patient(shop_)
        async with built(subject._replace(views=Slow(subject.views))) as (builder, level), asyncio.timeout(20):
            compared = await level.compare(builder)
        assert compared is not None
        assert compared.is_equal


@pytest.mark.parametrize(
    ("stand", "lanes", "wanted"),
    [
        ({0: 7}, 1, {0: 7}),
        ({0: 7, 1: 9}, 2, {0: 7, 1: 9}),
        ({0: 7}, 3, {0: 7, 1: 7, 2: 7}),
        ({0: 7, 1: 7}, 1, {0: 7}),
        ({0: 7, 1: 9}, 1, None),
        ({0: 7, 1: 9}, 3, None),
        ({}, 1, None),
    ],
)
def test_lanes_of_another_number_meet_only_where_all_of_them_stand_together(
    stand: dict[int, int], lanes: int, wanted: dict[int, int] | None
) -> None:
    assert _as_lanes(stand, lanes) == wanted


async def test_the_live_one_stands_only_when_the_new_one_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """P6: what is far behind is built first, while events go on."""
    monkeypatch.setattr(levelling, "_NEAR", 3)
    held: list[int] = []
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append(orders(5))
        await shop_.engine.caught_up()
        subject = patient(shop_)
        new = await subject.views.generations.begin(subject.definition.tables)
        async with Backfill(subject, new.number) as builder, asyncio.timeout(20):
            await builder.take(range(new.lanes))
            pause = subject.views.leases.pause

            async def hold(*of: Any, **more: Any) -> None:
                held.append(builder.progress.position)
                await pause(*of, **more)

            monkeypatch.setattr(subject.views.leases, "pause", hold)
            head = (await subject.events.head()).position
            compared = await Levelling(subject, await live(subject), new).compare(builder)
        assert compared is not None
        assert (compared.is_equal, compared.positions) == (True, (head, head))
        assert min(held) >= head - 3
        assert not (await subject.views.leases.board()).paused


async def test_what_came_while_somebody_decided_is_built_before_the_swap() -> None:
    """P3, R2: whoever reads goes back in time for no rebuild."""
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append(orders(5))
        await shop_.engine.caught_up()
        subject = subject_of(shop_, shop.Baskets)

        async def decide(*_: Any) -> bool:
            await shop_.append(orders(3, first=7))
            await shop_.engine.caught_up()
            return True

        rebuilt = await rebuild(subject, decide)
        assert rebuilt.is_swapped
        assert (await live(subject)).number == rebuilt.new.number
        assert len(await shop_.rows(shop.Basket)) == 8
        assert await differences(subject) == []
