"""Lanes of a generation that nobody reads, carried to a position: what a rebuild is made of."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path

import pytest

from diptych.errors import OtherHistoryError
from diptych.projections.alone import Alone
from diptych.projections.carrying import Carrier
from diptych.projections.definition import define
from diptych.projections.tenure import Leased
from diptych.projections.work import Work
from diptych.store.batches import Checkpoint
from diptych.store.leases import Held, Worker
from diptych.store.protocols import Head
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.reading import LogReader, Pace
from tests.projections import shop
from tests.projections.running import Running, running
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


async def carrier_of(shop_: Running, reader: LogReader, lanes: range) -> Carrier:
    """Work on some lanes of a generation that is being built."""
    definition = define(shop.Baskets)
    building = await shop_.views.generations.begin(definition.tables)
    worker = f"builder of {lanes}"
    await shop_.views.leases.beat(Worker(worker, "", frozenset([building.number])), 60.0)
    tenure = Leased(shop_.views.leases, worker, definition.name, building.number)
    work = Work(definition, building.number, shop_.views, reader, reader.pace, tenure, Alone())
    carrier = Carrier(work, Progress(definition.name))
    await carrier.take(await tenure.claim(lanes))
    return carrier


async def test_two_builders_share_the_lanes_and_stop_where_they_are_told(url: str) -> None:
    facts = [(shop.order(str(n % 40)), shop.placed() if n < 40 else shop.added()) for n in range(200)]
    async with running(url, shop.Baskets) as shop_:
        await shop_.append(facts)
        await shop_.engine.caught_up()
        live = await shop_.rows(shop.Basket)
        reader = LogReader(shop_.events, shop_.codec, Pace(page_events=30))
        await reader.page(0)  # where the log ends is known from now on
        first, second = [await carrier_of(shop_, reader, lanes) for lanes in (range(5), range(5, 16))]
        try:
            for position in (70, 200):
                for carrier in (first, second):
                    while await carrier.step(position):
                        pass
                    await carrier.save(at_once=True)
                places = await shop_.views.places("baskets", first.work.generation)
                assert [at.position for at in places] == [position] * 16
        finally:
            first.close()
            second.close()
        assert await shop_.rows(shop.Basket) == live
        await shop_.views.generations.index("baskets", first.work.generation)
        await shop_.views.generations.swap("baskets", first.work.generation)
        assert await shop_.rows(shop.Basket) == live  # P3


async def test_streams_that_share_an_id_share_a_row_and_so_a_lane(url: str) -> None:
    """P1: two workers would else read and write one row at once."""
    names = [str(number) for number in range(24)]
    async with running(url, shop.Baskets) as one, running(url, shop.Baskets) as two:
        await one.append([(shop.order(name), shop.placed()) for name in names])
        for turn in range(6):
            for name in names:
                order = shop.order(name)
                payment = order._replace(category="Payment")
                await (one if turn % 2 else two).append([(order, shop.added()), (payment, shop.added())])
        await one.engine.caught_up()
        await two.engine.caught_up()
        assert {row.items for row in (await one.rows(shop.Basket)).values()} == {12}


@asynccontextmanager
async def carrying(shop_: Running, lanes: range = range(16)) -> AsyncIterator[Carrier]:
    """Carry some lanes, to the end of the log and further."""
    reader = LogReader(shop_.events, shop_.codec, Pace(page_events=30, save=inf))
    await reader.page(0)
    carrier = await carrier_of(shop_, reader, lanes)
    try:
        while await carrier.step():
            pass
        yield carrier
    finally:
        carrier.close()


@pytest.mark.parametrize(("position", "event_id"), [(2, b"another" + bytes(9)), (3, b"")], ids=["other", "beyond"])
async def test_a_lane_that_was_made_of_another_log_is_not_taken(position: int, event_id: bytes) -> None:
    """P1: a log that was put back from a copy, say."""
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added())])
        async with carrying(shop_) as carrier:
            held = Held(3, 9, Checkpoint(2, 9, b""), True, 0)
            await carrier.take([held])  # where no event is named, none is compared
            with pytest.raises(OtherHistoryError, match=f"checkpoint of baskets.*{position}"):
                await carrier.take([held._replace(checkpoint=Checkpoint(position, 9, event_id))])
            assert carrier.lanes[3].epoch == 9


async def test_a_lane_that_is_dropped_is_told_of_no_more() -> None:
    """Neither where it is, nor what of it is put aside."""
    async with running("memory:", shop.Baskets) as shop_:
        facts = [(shop.order(name), event) for name in "123" for event in (shop.placed(), shop.added("poison"))]
        await shop_.append(facts)
        await shop_.engine.caught_up()
        async with carrying(shop_) as carrier:
            lane = lane_of(str(shop.order("1").id), 16)
            assert len(carrier.parked.since) == 3
            await carrier.take([Held(lane, carrier.lanes[lane].epoch, Checkpoint(), True, 0)])
            assert carrier.progress.position == 0
            carrier.drop([lane])
            assert carrier.progress.position == 6
            assert str(shop.order("1").id) not in carrier.parked.since
            assert len(carrier.parked.since) == 2


async def test_where_the_log_is_shorter_than_it_seemed_there_is_nothing_to_do() -> None:
    """After a fail-over that lost the tail."""
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append([(shop.order("1"), shop.placed())])
        async with carrying(shop_) as carrier:
            carrier.work.reader.head = Head(9, b"lost", 0)
            assert not await carrier.step()


async def on_disk(carrier: Carrier) -> set[int]:
    """Where its lanes are there."""
    return {at.position for at in await carrier.work.views.places("baskets", carrier.work.generation)}


async def test_what_was_only_looked_at_is_written_down_when_it_is_time_to() -> None:
    """P2: and it is said whether anything is left to write."""
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append([(shop.customer("ada"), shop.Noise())] * 3)
        async with carrying(shop_) as carrier:
            assert await carrier.save()
            assert await on_disk(carrier) == {0}
            assert not await carrier.save(at_once=True)
            assert await on_disk(carrier) == {carrier.progress.saved} == {3}
            assert not await carrier.save()


async def test_who_waits_has_it_written_down_at_once() -> None:
    """R1"""
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append([(shop.customer("ada"), shop.Noise())] * 3)
        async with carrying(shop_) as carrier:
            waiting = asyncio.create_task(carrier.progress.wait_for(3, 10.0))
            await asyncio.sleep(0)
            assert not await carrier.save()
            assert await waiting


async def test_an_event_is_passed_over_by_the_lanes_that_stand_before_it() -> None:
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added())])
        async with carrying(shop_) as carrier:
            await carrier.take([Held(4, carrier.lanes[4].epoch, Checkpoint(), True, 0)])
            await shop_.append([(shop.order("1"), shop.added())])
            await carrier.pass_over(3)
            assert {number: lane.at.position for number, lane in carrier.lanes.items()} == {
                number: 0 if number == 4 else 3 for number in range(16)
            }


async def test_a_carrier_that_is_closed_has_no_thread_any_more() -> None:
    before = set(threading.enumerate())
    async with running("memory:", shop.Baskets, is_started=False) as shop_:
        await shop_.append([(shop.order("1"), shop.placed())])
        async with carrying(shop_):
            (folding,) = [one for one in set(threading.enumerate()) - before if one.name == "diptych-baskets"]
        await until(lambda: not folding.is_alive())
