"""Lanes of a generation that nobody reads, carried to a position: what a rebuild is made of."""

from pathlib import Path

import pytest

from diptych.projections.alone import Alone
from diptych.projections.carrying import Carrier
from diptych.projections.definition import define
from diptych.projections.tenure import Leased
from diptych.projections.work import Work
from diptych.store.leases import Worker
from diptych.subscriptions.progress import Progress
from diptych.subscriptions.reading import LogReader, Pace
from tests.projections import shop
from tests.projections.running import Running, running
from tests.urls import url_for

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
