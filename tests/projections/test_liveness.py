"""P6: with every hint dropped, and with the store away for a while, projections reach the head by themselves."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from diptych.errors import StoreUnavailableError, UnknownOutcomeError
from diptych.projections.projection import Projection
from diptych.projections.site import Rules
from diptych.store.batches import ViewBatch
from diptych.store.memory import MemoryEventStore
from diptych.store.protocols import EventStore, ViewStore
from tests.projections import shop
from tests.projections.running import running
from tests.projections.shop import Fact
from tests.urls import url_for

pytestmark = pytest.mark.anyio


class Around:
    """A store that passes everything on, but for what a subclass changes."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Deaf(Around):
    """An event store whose `wait` never hears of an append: it only sleeps."""

    async def wait(self, after: int, seconds: float) -> None:
        await anyio.sleep(seconds)


class Nervous(Around):
    """An event store whose `wait` always returns at once."""

    async def wait(self, after: int, seconds: float) -> None:
        return None


class Away(Around):
    """A store that fails so many times, then works."""

    def __init__(self, inner: Any, method: str, times: int) -> None:
        super().__init__(inner)
        self.method, self.left = method, times

    def __getattr__(self, name: str) -> Any:
        if name == self.method and self.left:
            self.left -= 1
            return self.fail
        return getattr(self.inner, name)

    async def fail(self, *_: Any, **__: Any) -> Any:
        raise StoreUnavailableError("the disk is being moved")


FACTS: list[Fact] = [(shop.order("1"), shop.placed()), (shop.order("1"), shop.added())]


@pytest.mark.parametrize("wrapper", [Deaf, Nervous])
async def test_projections_reach_the_head_within_two_seconds_whatever_the_hints_do(wrapper: type[Around]) -> None:
    """P6, at the pace that applications run at."""

    def wrap(store: EventStore) -> EventStore:
        return wrapper(store)

    async with running("memory:", shop.Sales, shop.Baskets, (shop.Orders, "inline"), rules=Rules(), wrap=wrap) as shop_:
        for _ in range(3):
            await shop_.append(FACTS)
            await shop_.engine.caught_up(timeout=2.0)


async def test_false_hints_one_after_the_other_do_not_keep_the_store_busy() -> None:
    """After a fail-over that lost the tail the store still says that the log reaches further than it does."""
    waits: list[int] = []

    class Mistaken(Around):
        async def wait(self, after: int, seconds: float) -> None:
            waits.append(after)

    async with running("memory:", shop.Baskets, rules=Rules(), wrap=Mistaken) as shop_:
        await anyio.sleep(0.5)  # on a slow machine it asks less
        assert len(waits) < 50
        await shop_.append(FACTS)
        await shop_.engine.caught_up(timeout=2.0)


@pytest.mark.parametrize("method", ["read_log", "head", "wait"])
async def test_an_event_store_that_comes_back_is_read_on(method: str) -> None:
    """X2: nothing is parked, nothing is lost, service resumes by itself."""
    away: list[Away] = []

    def wrap(store: EventStore) -> EventStore:
        away.append(Away(store, method, 0))
        return away[0]

    async with running("memory:", shop.Baskets, wrap=wrap) as shop_:
        away[0].left = 4
        await shop_.append(FACTS)
        assert await shop_.engine.progress["baskets"].wait_for(2, 5.0)
        assert (await shop_.rows(shop.Basket))[shop.order("1").id].items == 1
        assert shop_.engine.progress["baskets"].state == "running"


@pytest.mark.parametrize("method", ["commit", "load", "checkpoint", "parked"])
async def test_a_view_store_that_comes_back_is_written_on(method: str) -> None:
    """X2: the database's trouble is not the event's."""
    away: list[Away] = []

    def wrap_views(views: ViewStore) -> ViewStore:
        away.append(Away(views, method, 0))
        return away[0]

    async with running("memory:", shop.Baskets, wrap_views=wrap_views) as shop_:
        await shop_.append(FACTS[:1])
        await shop_.engine.caught_up()
        away[0].left = 4
        await shop_.append(FACTS[1:])
        assert await shop_.engine.progress["baskets"].wait_for(2, 5.0)
        assert (await shop_.rows(shop.Basket))[shop.order("1").id].items == 1
        assert shop_.engine.progress["baskets"].parked == 0


@pytest.mark.parametrize("given", [shop.Baskets, shop.Sales], ids=["isolated", "not isolated"])
async def test_a_commit_that_is_not_confirmed_is_not_the_events_fault(given: type[Projection[Any]]) -> None:
    """X2: whether it took effect is seen when the lanes are loaded again."""
    unsure: list[Unsure] = []

    def wrap_views(views: ViewStore) -> ViewStore:
        unsure.append(Unsure(views))
        return unsure[0]

    async with running("memory:", given, wrap_views=wrap_views) as shop_:
        progress = shop_.engine.followings[given.__name__.lower()].progress
        await shop_.append(FACTS)
        await shop_.engine.caught_up()
        for is_done in (False, True):
            unsure[0].turns = [is_done]
            last = await shop_.append(FACTS[1:])
            assert await progress.wait_for(last.position, 5.0)
            assert (unsure[0].turns, progress.state, progress.parked) == ([], "running", 0)


class Unsure(Around):
    """A view store that does not know of the next commits what became of them: here it says which are done."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.turns: list[bool] = []

    async def commit(self, batch: ViewBatch) -> None:
        is_sure = not self.turns
        if is_sure or self.turns.pop(0):
            await self.inner.commit(batch)
        if not is_sure:
            raise UnknownOutcomeError("disk I/O error")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


async def test_two_processes_of_one_projection_take_turns(url: str) -> None:
    """P5: both believe they own it; compare-and-set lets each batch take effect once."""
    async with running(url, shop.SalesBySql) as one, running(url, shop.SalesBySql) as two:
        for _ in range(30):
            await one.append([(shop.order("1"), shop.added())])
        await one.engine.caught_up()
        await two.engine.caught_up()
        assert (await one.rows(shop.HandWritten))["pen"].lines == 30


async def test_a_quiet_loop_still_shows_its_heartbeat() -> None:
    async with running("memory:", shop.Sales) as shop_:
        await shop_.engine.caught_up()
        progress = shop_.engine.progress["sales"]
        before = progress.heartbeat
        with anyio.fail_after(5):
            while progress.heartbeat == before:  # noqa: ASYNC110 - it is looked at, not told
                await anyio.sleep(0.02)


async def test_what_was_read_before_a_store_was_away_is_read_again() -> None:
    """P1: whoever took over may have lost the last events, and have others in their place."""
    here: list[Around] = []
    away: list[Away] = []

    def wrap(store: EventStore) -> EventStore:
        here.append(Around(store))
        return here[0]

    def wrap_views(views: ViewStore) -> ViewStore:
        away.append(Away(views, "commit", 1_000_000))
        return away[0]

    async with running("memory:", shop.Baskets, wrap=wrap, wrap_views=wrap_views) as shop_:
        await shop_.append([FACTS[0], FACTS[1], FACTS[1]])
        while away[0].left > 1_000_000 - 3:  # its page is read, and cannot be written  # noqa: ASYNC110
            await anyio.sleep(0.01)
        other = MemoryEventStore()
        await other.open()
        await shop.append(other, FACTS)
        here[0].inner, away[0].left = other, 0

        assert await shop_.engine.progress["baskets"].wait_for(2, 5.0)
        assert (await shop_.rows(shop.Basket))[shop.order("1").id].items == 1
