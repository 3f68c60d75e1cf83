"""What `status` says of a projection is of one moment."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from diptych.app.status import measure
from diptych.projections.site import Rules
from diptych.store.batches import LaneMove, ViewBatch
from diptych.subscriptions.progress import Place
from tests.projections import shop
from tests.projections.running import FAST, running
from tests.projections.test_liveness import Around

pytestmark = pytest.mark.anyio


class Moving(Around):
    """An event store; while one event is read from it, something happens."""

    happens: Callable[[], None] = staticmethod(lambda: None)

    async def read_log(self, *, after: int, limit: int) -> Any:
        page = await self.inner.read_log(after=after, limit=limit)
        if limit == 1:
            self.happens()
        return page


async def test_position_and_lag_agree_though_the_projection_moves_meanwhile() -> None:
    stores: list[Moving] = []

    def moving(store: Any) -> Any:
        stores.append(Moving(store))
        return stores[0]

    rules = Rules(FAST.pace, is_worker=False)
    async with running("memory:", shop.Baskets, wrap=moving, rules=rules, is_started=False) as shop_:
        one = shop.order("1")
        await shop_.append([(one, shop.placed()), (one, shop.added()), (one, shop.added())])
        progress = shop_.engine.progress["baskets"]
        stores[0].happens = lambda: progress.hears({0: Place(2)})
        status = await measure(shop_.events, shop_.engine)
        assert progress.position == 2
        (found,) = status.projections
        assert found.position + found.lag_events == status.head


async def _nothing() -> None:
    """See nothing new."""


async def test_what_is_on_disk_counts_while_nobody_here_knows_where_the_lanes_are() -> None:
    """P6: when lanes had been let go of, as in a fail-over, it was told as behind by the whole log."""
    async with running("memory:", shop.Sales, is_started=False) as shop_:
        one = shop.order("1")
        await shop_.append([(one, shop.placed()), (one, shop.added()), (one, shop.added())])
        head = await shop_.events.head()
        place = (head.position, head.event_id, head.recorded_at)
        progress = shop_.engine.progress["sales"]
        progress.turns_to((await shop_.views.generations.all("sales"))[0].number)
        await shop_.views.commit(ViewBatch("sales", progress.generation, [LaneMove(0, 0, 0)], *place))
        progress.stands(Place(), 0)
        blind: Any = SimpleNamespace(look=_nothing, views=shop_.engine.views, followings=shop_.engine.followings)
        (found,) = (await measure(shop_.events, blind)).projections
        assert (found.position, found.lag_events, found.lag_seconds) == (3, 0, 0.0)
        assert (progress.position, progress.saved) == (0, 0), "who waits for a read is told nothing of it"
