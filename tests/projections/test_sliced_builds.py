"""P1, P3: builders that read only the events of their own lanes."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from diptych.clock import new_id
from diptych.errors import UnknownEventTypeError
from diptych.events.recorded import NewEvent
from diptych.projections.backfill import Backfill, Subject
from diptych.projections.rebuilding import in_halves
from diptych.store.protocols import Append, Page, StreamWrite
from diptych.stream import ANY, StreamName
from diptych.subscriptions.lanes import LANES, lane_of
from tests.projections import shop
from tests.projections.rebuilds import FROZEN, subject_of
from tests.projections.running import Running, running
from tests.urls import url_for

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


class Watched:
    """An event store that notes how many events of the log were given."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.given = inner, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def read_log(self, *, after: int, types: frozenset[str] | None = None, limit: int = 1000) -> Page:
        page: Page = await self.inner.read_log(after=after, types=types, limit=limit)
        self.given += len(page.events)
        return page

    async def read_slices(self, *, after: int, slices: range, limit: int = 1000) -> Page:
        page: Page = await self.inner.read_slices(after=after, slices=slices, limit=limit)
        self.given += len(page.events)
        return page


FACTS = [(shop.order(str(n % 40)), shop.placed() if n < 40 else shop.added()) for n in range(200)]
HALVES = in_halves(LANES, 2)


async def building(shop_: Running) -> tuple[Subject, int]:
    """Begin a generation that is built in small pages."""
    subject = subject_of(shop_, shop.Baskets)
    subject = subject._replace(pace=subject.pace._replace(page_events=30))
    return subject, (await shop_.views.generations.begin(subject.definition.tables)).number


async def assert_places(subject: Subject, number: int, wanted: Sequence[int]) -> None:
    """P2: every checkpoint names the event that is at its position."""
    places = await subject.views.places(subject.name, number)
    assert [place.position for place in places] == wanted
    events = (await subject.events.read_log(after=0, limit=1000)).events
    for place in places:
        event = events[place.position - 1]
        assert (place.event_id, place.recorded_at) == (event.event_id, event.recorded_at)


def test_lanes_are_divided_into_ranges() -> None:
    assert in_halves(16, 2) == [range(8), range(8, 16)]
    assert in_halves(16, 3) == [range(5), range(5, 10), range(10, 16)]
    assert in_halves(2, 5) == [range(1), range(1, 2)]


async def test_two_halves_make_the_rows_that_one_reader_of_everything_makes(url: str) -> None:
    async with running(url, shop.Baskets) as before:
        await before.append(FACTS)
        await before.engine.caught_up()
        live = await before.rows(shop.Basket)
        subject, number = await building(before)
        for upto in (70, 71, 200):
            for lanes in HALVES:
                async with Backfill(subject, number) as builder:
                    await builder.take(lanes)
                    await builder.build(upto)
            await assert_places(subject, number, [upto] * LANES)
        await before.views.generations.index(subject.name, number)
        await before.views.generations.swap(subject.name, number)
        assert await before.rows(shop.Basket) == live


async def test_a_builder_is_given_few_events_of_others(url: str) -> None:
    watched: list[Watched] = []

    def watch(inner: Any) -> Any:
        watched.append(Watched(inner))
        return watched[-1]

    async with running(url, shop.Baskets, rules=FROZEN, wrap=watch, is_started=False) as shop_:
        await shop_.append(FACTS)
        subject, number = await building(shop_)
        given = watched[0].given
        async with Backfill(subject, number) as builder:
            await builder.take(HALVES[0])
            await builder.build(len(FACTS))
        mine = sum(lane_of(str(name.id), LANES) in HALVES[0] for name, _ in FACTS)
        assert mine <= watched[0].given - given < len(FACTS)


async def test_an_unknown_event_stops_the_builder_whose_it_is_just_before_it(url: str) -> None:
    """I2, P2: what stands before it in the log is of others, and its place is right all the same."""
    async with running(url, shop.Baskets, rules=FROZEN, is_started=False) as shop_:
        mine, others = (
            next(n for n in range(40) if lane_of(str(shop.order(str(n)).id), LANES) in half) for half in HALVES
        )
        await shop_.append([(shop.order(str(n)), shop.placed()) for n in (mine, others, others, others)])
        strange = [NewEvent(new_id().bytes, "Strange", 1, "{}")]
        await shop_.events.append(
            Append([StreamWrite(StreamName("", "Order", shop.order(str(mine)).id), ANY, strange)])
        )
        await shop_.append([(shop.order(str(others)), shop.added()), (shop.order(str(mine)), shop.added())])
        subject, number = await building(shop_)
        async with AsyncExitStack() as stack:
            first, second = [await stack.enter_async_context(Backfill(subject, number)) for _ in HALVES]
            await first.take(HALVES[0])
            await second.take(HALVES[1])
            with pytest.raises(UnknownEventTypeError):
                await first.build(7)
            await second.build(7)
        await assert_places(subject, number, [4 if lane in HALVES[0] else 7 for lane in range(LANES)])


async def test_lanes_that_stand_apart_are_levelled(url: str) -> None:
    """P1: a lane that is ahead is met amid a page, where the event may be of others."""
    async with running(url, shop.Baskets) as shop_:
        await shop_.append(FACTS)
        await shop_.engine.caught_up()
        live = await shop_.rows(shop.Basket)
        subject, number = await building(shop_)
        for lanes, upto in ((range(3), 33), (range(3, 5), 57), (HALVES[0], 100), (HALVES[1], 200), (HALVES[0], 200)):
            async with Backfill(subject, number) as builder:
                await builder.take(lanes)
                await builder.build(upto)
            await assert_some_places(subject, number)
        await shop_.views.generations.index(subject.name, number)
        await shop_.views.generations.swap(subject.name, number)
        assert await shop_.rows(shop.Basket) == live


async def assert_some_places(subject: Subject, number: int) -> None:
    """P2, of the lanes that have begun."""
    events = (await subject.events.read_log(after=0, limit=1000)).events
    for place in await subject.views.places(subject.name, number):
        if place.position:
            assert place.event_id == events[place.position - 1].event_id
