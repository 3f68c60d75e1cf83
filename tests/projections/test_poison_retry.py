"""P1, P7: a further try at parked keys applies each event once, and delays nobody else when it fails again."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from diptych.handlers import on
from diptych.messages import Metadata
from diptych.projections.projection import Projection
from diptych.store.batches import LaneMove, Load, ParkedEvent, ViewBatch
from diptych.store.leases import Held, Worker
from diptych.store.protocols import ViewStore
from tests.projections import shop
from tests.projections.running import Running, running
from tests.projections.shop import Added, Basket, Placed
from tests.projections.test_workers import Silenced
from tests.urls import url_for

pytestmark = pytest.mark.anyio


@pytest.fixture
def mended() -> Iterator[None]:
    yield
    shop.Baskets.is_mended = False


async def released(shop_: Running) -> None:
    """Wait until nothing is parked."""
    with anyio.fail_after(5):
        while True:
            if not await shop_.views.parked("baskets"):
                return
            await anyio.sleep(0.001)


async def stolen(shop_: Running, generation: int, lane: int) -> Held:
    """Take the lane from its living owner, whose own beat may say between the two words that it lives."""
    while True:
        await shop_.views.leases.beat(Worker("thief", "", frozenset([generation])), 60.0, dead=[shop_.engine.worker])
        for held in await shop_.views.leases.claim("thief", "baskets", generation, [lane]):
            return held


class Wide(Projection[Basket]):
    """Makes a value that no column takes, which is known only when it is written."""

    @on
    def placed(self, event: Placed, meta: Metadata) -> Basket:
        return Basket(id=meta.stream.id, total=Decimal(0), items=0)

    @on
    def added(self, row: Basket, event: Added) -> Basket:
        return row.replace(items=2**70 if event.product == "poison" else row.items + 1)


async def test_a_parked_key_whose_value_still_does_not_fit_stops_nobody_when_tried_again() -> None:
    """P7: known only when it is written, as at the first time."""
    async with running("memory:", Wide) as shop_:
        await shop_.append([(shop.order("1"), shop.placed()), (shop.order("2"), shop.placed())])
        await shop_.append([(shop.order("1"), shop.added("poison"))])
        await shop_.engine.caught_up()
        assert shop_.engine.progress["wide"].state == "parked"
        shop_.engine.retry("wide")
        last = await shop_.append([(shop.order("2"), shop.added())])
        assert await shop_.engine.progress["wide"].wait_for(last.position, 5.0)
        assert (await shop_.rows(Basket))[shop.order("2").id].items == 1
        assert shop_.engine.progress["wide"].state == "parked"


class UntoldError(Exception):
    """One whose own code has a fault."""

    def __str__(self) -> str:
        return self.message  # type: ignore[attr-defined, no-any-return]


class Untold(Projection[Basket]):
    """Fails, and cannot say why."""

    @on
    def placed(self, event: Placed, meta: Metadata) -> Basket:
        return Basket(id=meta.stream.id, total=Decimal(0), items=0)

    @on
    def added(self, row: Basket, event: Added) -> Basket:
        if event.product == "poison":
            raise UntoldError
        return row.replace(items=row.items + 1)


async def test_a_failure_that_cannot_say_itself_is_parked_like_any_other() -> None:
    """P7: what was said was the fault in its message, and not that it was raised."""
    async with running("memory:", Untold) as shop_:
        await shop_.append([(shop.order("1"), shop.placed()), (shop.order("2"), shop.placed())])
        await shop_.append([(shop.order("1"), shop.added("poison"))])
        last = await shop_.append([(shop.order("2"), shop.added())])
        assert await shop_.engine.progress["untold"].wait_for(last.position, 5.0)
        assert shop_.engine.progress["untold"].state == "parked"
        (parked,) = await shop_.views.parked("untold")
        assert "UntoldError: what it says cannot be told, for that raised AttributeError" in parked.error


@pytest.mark.usefixtures("mended")
async def test_which_event_is_tried_again_is_noted_beforehand() -> None:
    """P7: if the try ends the process, whoever has the lane next knows by that what not to try again."""
    async with running("memory:", shop.Baskets) as shop_:
        await shop_.append([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added("poison"))])
        await shop_.engine.caught_up()
        shop.Baskets.is_mended = True
        noted, tried = list[int](), list[int]()
        mark, load = shop_.views.leases.mark, shop_.views.load

        async def note(*of: Any, attempt: int = 0, **more: Any) -> None:
            await mark(*of, attempt=attempt, **more)
            noted.append(attempt)

        async def look(generation: int, loads: Sequence[Load]) -> Mapping[str, Sequence[Any]]:
            tried.extend(noted[-1:])
            return await load(generation, loads)

        shop_.views.leases.mark = note  # type: ignore[method-assign]
        shop_.views.load = look  # type: ignore[method-assign]
        shop_.engine.retry("baskets")
        await released(shop_)
        assert tried == [2]


@pytest.fixture(params=["sqlite", "postgres"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


@pytest.mark.usefixtures("mended")
async def test_a_key_released_by_who_took_over_is_not_parked_again_by_who_did_not_notice(file: str) -> None:
    """P1, P7: the stale one must look again: neither apply it twice, nor make the key wait behind nothing."""
    wrapped: list[Silenced] = []

    def wrap(views: ViewStore) -> ViewStore:
        wrapped.append(Silenced(views))
        return wrapped[0]

    async with running(file, shop.Baskets, wrap_views=wrap) as stale:
        await stale.append([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added("poison", 100))])
        await stale.engine.caught_up()
        wrapped[0].is_silent = True
        shop.Baskets.is_mended = True
        async with running(file, shop.Baskets) as mending:
            await released(mending)
            last = await mending.append([(shop.order("1"), shop.added())])
            assert await mending.engine.progress["baskets"].wait_for(last.position, 5.0)
        wrapped[0].is_silent = False
        last = await stale.append([(shop.order("1"), shop.added())])
        assert await stale.engine.progress["baskets"].wait_for(last.position, 5.0)
        nothing: list[ParkedEvent] = []
        assert await stale.views.parked("baskets") == nothing
        assert (await stale.rows(Basket))[shop.order("1").id].items == 102


@pytest.mark.usefixtures("mended")
async def test_a_try_in_which_the_lease_is_lost_applies_nothing(file: str) -> None:
    """P5: its owner reads the parked events, is taken for dead, and comes back when they are applied."""
    async with running(file, shop.Baskets) as first:
        await first.append([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added("poison", 100))])
        await first.engine.caught_up()
        shop.Baskets.is_mended = True
        load, views = first.views.load, first.views

        async def load_late(generation: int, loads: Sequence[Load]) -> Mapping[str, Sequence[Any]]:
            rows = await load(generation, loads)
            views.load = load  # type: ignore[method-assign]
            lane = next(event.lane for event in await views.parked("baskets"))
            held = await stolen(first, generation, lane)
            key, moves = str(shop.order("1").id), [LaneMove(lane, held.epoch, held.checkpoint.position)]
            place = (held.checkpoint.position, held.checkpoint.event_id, held.checkpoint.recorded_at)
            await views.commit(ViewBatch("baskets", generation, moves, *place, unparked=[key]))
            await views.leases.leave("thief")
            return rows

        views.load = load_late  # type: ignore[method-assign]
        first.engine.retry("baskets")
        await released(first)
        last = await first.append([(shop.order("1"), shop.added())])
        assert await first.engine.progress["baskets"].wait_for(last.position, 5.0)
        assert (await first.rows(Basket))[shop.order("1").id].items == 1  # the thief released it, and applied nothing
