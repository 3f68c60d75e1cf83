"""P1, P7: a further try at parked keys applies each event once, and delays nobody else when it fails again."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from diptych.handlers import on
from diptych.messages import Metadata
from diptych.projections.projection import Projection
from diptych.store.batches import ParkedEvent
from tests.projections import shop
from tests.projections.running import Running, running
from tests.projections.shop import Added, Basket, Placed

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


@pytest.mark.usefixtures("mended")
async def test_two_processes_that_try_a_parked_key_again_apply_it_once(tmp_path: Path) -> None:
    """P1: the one that is late finds the key released, and takes nothing of it."""
    file = f"sqlite:///{tmp_path}/shop.db"
    async with running(file, shop.Baskets) as first:
        await first.append([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added("poison", 100))])
        await first.engine.caught_up()
        shop.Baskets.is_mended = True
        async with running(file, shop.Baskets, is_started=False) as second:
            load = second.views.load

            async def load_late(generation: int, loads: Sequence[Any]) -> Any:
                if shop.Baskets.is_mended and await first.views.parked("baskets"):
                    first.engine.retry("baskets")
                    await released(first)
                return await load(generation, loads)

            second.views.load = load_late  # type: ignore[method-assign]
            await second.engine.start()
            last = await second.append([(shop.order("1"), shop.added())])
            assert await second.engine.progress["baskets"].wait_for(last.position, 5.0)
            assert (await second.rows(Basket))[shop.order("1").id].items == 101
            assert await second.views.parked("baskets") == []


@pytest.mark.usefixtures("mended")
async def test_a_key_released_by_another_process_is_not_parked_again_by_who_did_not_notice(tmp_path: Path) -> None:
    """P7: the stale one must look again, not make the key wait behind nothing."""
    file = f"sqlite:///{tmp_path}/shop.db"
    async with running(file, shop.Baskets) as stale:
        await stale.append([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added("poison", 100))])
        await stale.engine.caught_up()
        shop.Baskets.is_mended = True
        async with running(file, shop.Baskets) as mending:
            await released(mending)
        last = await stale.append([(shop.order("1"), shop.added())])
        assert await stale.engine.progress["baskets"].wait_for(last.position, 5.0)
        nothing: list[ParkedEvent] = []
        assert await stale.views.parked("baskets") == nothing
        assert (await stale.rows(Basket))[shop.order("1").id].items == 101
