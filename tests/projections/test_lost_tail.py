"""After a fail-over that lost the end of the log, nothing of what was read of it stays (P1)."""

import asyncio
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import pytest

from diptych.errors import CheckpointMovedError
from diptych.events.recorded import StoredEvent
from diptych.projections.backfill import Backfill
from diptych.projections.site import Rules
from diptych.store.batches import ViewBatch
from diptych.store.protocols import Head, Page
from tests.projections import shop
from tests.projections.harmful import until
from tests.projections.rebuilds import PACE, subject_of
from tests.projections.running import FAST, running
from tests.urls import url_for

pytestmark = pytest.mark.anyio


class Forked:
    """An event store whose log ends, for now, with events that the next primary will not have."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.tail = inner, list[StoredEvent]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def head(self) -> Head:
        found: Head = await self.inner.head()
        return _end(found, self.tail)

    async def read_log(self, *, after: int, types: frozenset[str] | None = None, limit: int = 1000) -> Page:
        page: Page = await self.inner.read_log(after=after, types=types, limit=limit)
        events = [*page.events, *[each for each in self.tail if each.position > after]]
        return Page(after, after + len(events), events, _end(page.head, self.tail), page.before)


def _end(head: Head, tail: list[StoredEvent]) -> Head:
    return Head(tail[-1].position, tail[-1].event_id, tail[-1].recorded_at) if tail else head


def kept_in(made: list[Any], kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what wraps a store, and puts the wrapping into a list."""

    def wrap(inner: Any) -> Any:
        made.append(kind(inner))
        return made[-1]

    return wrap


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


async def test_what_was_only_looked_at_hides_nothing_of_the_new_log(url: str) -> None:
    """P1, P4: no rows came of the lost event, so that the checkpoint is before it, and only memory is past it."""
    made: list[Any] = []
    async with running(
        url, shop.Baskets, wrap=kept_in(made, Forked), rules=Rules(FAST.pace._replace(save=3600))
    ) as shop_:
        await shop_.append([(shop.order("1"), shop.placed())])
        await shop_.engine.caught_up()
        made[0].tail = shop.stored([(shop.customer("ada"), shop.Registered(name="ada"))], after=1)
        async with asyncio.timeout(10):
            while shop_.engine.progress["baskets"].position < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        made[0].tail = []
        await shop_.append([(shop.order("2"), shop.placed()), (shop.order("3"), shop.placed())])
        async with asyncio.timeout(10):  # not `caught_up`: whoever waits has a place written down that is not there
            while shop.order("3").id not in await shop_.rows(shop.Basket):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert set(await shop_.rows(shop.Basket)) == {shop.order(name).id for name in "123"}


async def test_what_was_only_looked_at_hides_nothing_of_the_new_log_from_a_build() -> None:
    """P1, P3: the page that has the lost event in it is not read again."""
    made: list[Any] = []
    async with running("memory:", shop.Baskets, wrap=kept_in(made, Forked)) as shop_:
        await shop_.append([(shop.customer("ada"), shop.Registered(name="ada"))])
        await shop_.engine.caught_up()
        await shop_.engine.stop()
        subject = subject_of(shop_, shop.Baskets, pace=PACE._replace(save=inf))
        new = await subject.views.generations.begin(subject.definition.tables)
        made[0].tail = shop.stored([(shop.customer("eve"), shop.Registered(name="eve"))], after=1)
        async with Backfill(subject, new.number) as builder, asyncio.timeout(10):
            await builder.take(range(new.lanes))
            building = asyncio.create_task(builder.build(3))
            await until(lambda: builder.progress.position == 2)
            made[0].tail = []
            await shop_.append([(shop.order("2"), shop.placed()), (shop.order("3"), shop.placed())])
            await building
        assert [at.position for at in await subject.views.places("baskets", new.number)] == [3] * new.lanes
        await subject.views.generations.index("baskets", new.number)
        await subject.views.generations.swap("baskets", new.number)
        assert set(await shop_.rows(shop.Basket)) == {shop.order(name).id for name in "23"}


class Counting:
    """A view store that counts the batches it refuses."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.refused = inner, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def commit(self, batch: ViewBatch) -> None:
        try:
            await self.inner.commit(batch)
        except CheckpointMovedError:
            self.refused += 1
            raise


@pytest.mark.postgres
async def test_rows_beside_their_log_are_never_those_of_a_lost_event(postgres_url: str) -> None:
    """P1: it was read and folded, and the log that rows are written beside does not have it."""
    made: list[Any] = []
    wrap, wrap_views = kept_in(made, Forked), kept_in(made, Counting)
    async with running(postgres_url, shop.Baskets, wrap=wrap, wrap_views=wrap_views) as shop_:
        log, rows = made
        await shop_.append([(shop.order("1"), shop.placed())])
        await shop_.engine.caught_up()
        log.tail = shop.stored([(shop.order("lost"), shop.placed())], after=1)
        async with asyncio.timeout(10):
            while rows.refused < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        log.tail = []
        await shop_.append([(shop.order("2"), shop.placed())])
        await shop_.engine.caught_up()
        assert set(await shop_.rows(shop.Basket)) == {shop.order(name).id for name in "12"}
