"""P1: rows are held against what the log makes of them, at one place of each lane; what moves is no finding."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from diptych.errors import ProjectionError, StoreUnavailableError
from diptych.projections.definition import define
from diptych.projections.refolding import Difference, Refolding
from diptych.read.models import table_of
from diptych.store.batches import Checkpoint, LaneMove, ParkedEvent, RowChanges, ViewBatch
from diptych.subscriptions.lanes import LANES, lane_of
from tests.projections import shop
from tests.projections.running import Running, running
from tests.projections.shop import Basket, ProductSales

pytestmark = pytest.mark.anyio

TABLE = table_of(Basket)
ONE, TWO = shop.order("1"), shop.order("2")


@pytest.fixture
async def baskets() -> AsyncIterator[Running]:
    """Two baskets of four events; nobody works on them any more."""
    async with running("memory:", shop.Baskets, is_started=False) as made:
        await made.append([(ONE, shop.placed()), (TWO, shop.placed()), (ONE, shop.added()), (TWO, shop.added("ink"))])
        await made.engine.start()
        await made.engine.caught_up()
        await made.engine.stop()
        yield made


class Looked:
    """What one verification found, and what it told meanwhile."""

    def __init__(self, made: Running) -> None:
        definition = define(shop.Baskets)
        self.told: list[tuple[str, int, int]] = []
        self.again = Refolding(definition, made.events, made.views, made.codec)

    async def differences(self) -> list[str]:
        """Say each in a sentence."""
        try:
            return [str(each) async for each in self.again.differences(lambda *told: self.told.append(told))]
        finally:
            await self.again.close()


async def spoil(made: Running, *upserts: Basket, deletes: tuple[Any, ...] = ()) -> None:
    """Write rows that no event made."""
    changes = [RowChanges(TABLE, list(upserts), [(each,) for each in deletes])]
    await made.views.commit(ViewBatch("baskets", 1, [], 0, changes=changes))


async def test_rows_that_the_log_makes_are_as_they_must_be(baskets: Running) -> None:
    looked = Looked(baskets)
    assert await looked.differences() == []
    assert (looked.again.position, looked.again.rows) == (4, 2)
    assert looked.told == [("baskets", 4, 4)]


async def test_each_row_that_differs_is_told_in_the_order_of_its_key(baskets: Running) -> None:
    first, second = sorted([ONE.id, TWO.id], key=str)
    added = max(second.int + 1, first.int + 1)
    other = Basket(id=type(first)(int=added), total=Decimal(0), items=0)
    row = (await baskets.rows(Basket))[first]
    await spoil(baskets, row.replace(items=7, total=Decimal(9)), other, deletes=(second,))
    looked = Looked(baskets)
    assert sorted(await looked.differences()) == sorted(
        [
            f"basket {first}: total is 9.00, not 1.50; items is 7, not 1.",
            f"basket {second} is missing.",
            f"basket {other.id} is there, and the log makes no such row.",
        ]
    )
    assert looked.again.rows == 3


async def test_rows_before_behind_and_between_those_of_the_log_are_all_found(baskets: Running) -> None:
    ids = sorted([ONE.id.int, TWO.id.int])
    others = [Basket(id=type(ONE.id)(int=at), total=Decimal(0), items=0) for at in (ids[0] - 1, ids[0] + 1, ids[1] + 1)]
    await spoil(baskets, *others)
    found = await Looked(baskets).differences()
    assert found == [f"basket {row.id} is there, and the log makes no such row." for row in others]


async def test_more_rows_than_a_page_are_all_compared(baskets: Running) -> None:
    """P8: by pages, and none is passed over where one ends."""
    rows = [Basket(id=type(ONE.id)(int=number), total=Decimal(0), items=0) for number in range(2001)]
    await spoil(baskets, *rows)
    looked = Looked(baskets)
    assert len(await looked.differences()) == 2001
    assert looked.again.rows == 2003


async def test_what_is_parked_is_no_part_of_the_rows_and_neither_is_what_waits_behind_it(baskets: Running) -> None:
    """P7."""
    await baskets.append([(ONE, shop.added("poison")), (ONE, shop.added("pen")), (TWO, shop.added("pen"))])
    lane = lane_of(str(ONE.id), LANES)
    events = {row.position: row for row in (await baskets.events.read_log(after=0)).events}
    parked = [ParkedEvent(str(ONE.id), 5, "poisoned", lane), ParkedEvent(str(ONE.id), 6, "", lane)]
    row = (await baskets.rows(Basket))[TWO.id]
    moves = [LaneMove(lane, at.epoch, at.position) for lane, at in enumerate(await baskets.views.places("baskets"))]
    await baskets.views.commit(
        ViewBatch(
            "baskets",
            1,
            moves,
            7,
            events[7].event_id,
            changes=[RowChanges(TABLE, [row.replace(items=2, total=Decimal(3))])],
            parked=parked,
        )
    )

    looked = Looked(baskets)
    assert await looked.differences() == []
    assert looked.again.position == 7


async def test_an_event_that_cannot_be_folded_now_is_named(baskets: Running) -> None:
    """It is not parked, so that its rows were made by other code."""
    await baskets.append([(ONE, shop.added("poison"))])
    (event,) = (await baskets.events.read_log(after=4)).events
    moves = [LaneMove(lane, at.epoch, at.position) for lane, at in enumerate(await baskets.views.places("baskets"))]
    await baskets.views.commit(ViewBatch("baskets", 1, moves, 5, event.event_id))
    with pytest.raises(ProjectionError, match="position 5") as caught:
        await Looked(baskets).differences()
    assert caught.value.position == 5


async def test_each_lane_is_compared_where_it_stands(baskets: Running) -> None:
    """One that is further on than others was folded so far, and they were not."""
    await baskets.append([(ONE, shop.added()), (TWO, shop.added())])
    event = (await baskets.events.read_log(after=4)).events[0]
    lane, places = lane_of(str(ONE.id), LANES), await baskets.views.places("baskets")
    row = (await baskets.rows(Basket))[ONE.id]
    change = RowChanges(TABLE, [row.replace(items=2, total=Decimal(3))])
    move = LaneMove(lane, places[lane].epoch, 4)
    await baskets.views.commit(ViewBatch("baskets", 1, [move], 5, event.event_id, changes=[change]))
    looked = Looked(baskets)
    assert await looked.differences() == []
    assert looked.again.position == 4


async def test_what_is_released_meanwhile_is_looked_at_again(baskets: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folded without an event that is applied now, rows would seem to be wrong; the last one, too."""
    parked, looks = baskets.views.parked, list[str]()

    async def released(projection: str, generation: int | None = None) -> Any:
        looks.append(projection)
        return [ParkedEvent(str(TWO.id), 4, "boom")] if len(looks) == 1 else await parked(projection, generation)

    monkeypatch.setattr(baskets.views, "parked", released)
    looked = Looked(baskets)
    assert await looked.differences() == []
    assert len(looked.told) == 2  # it was folded twice


async def test_rows_that_went_back_meanwhile_are_looked_at_again(
    baskets: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A swap to a kept generation does that."""
    await baskets.append([(ONE, shop.added())])
    checkpoint, looks = baskets.views.checkpoint, list[str]()

    async def ahead(projection: str) -> Checkpoint:
        looks.append(projection)
        return Checkpoint(5) if len(looks) == 1 else await checkpoint(projection)

    monkeypatch.setattr(baskets.views, "checkpoint", ahead)
    looked = Looked(baskets)
    assert await looked.differences() == []
    assert looked.again.position == 4


@pytest.mark.parametrize("moves", ["lanes", "parked"])
async def test_what_is_changed_again_and_again_is_not_compared(
    baskets: Running, monkeypatch: pytest.MonkeyPatch, moves: str
) -> None:
    """To say that all is well, or that something is not, would be a guess."""
    count = 0

    async def lanes(projection: str, generation: int | None = None) -> list[Checkpoint]:
        nonlocal count
        count += 1
        return [Checkpoint(count)] * LANES

    async def parked(projection: str, generation: int | None = None) -> list[ParkedEvent]:
        nonlocal count
        count += 1
        return [ParkedEvent("key", 3 + count % 2)]

    if moves == "lanes":
        monkeypatch.setattr(baskets.views, "places", lanes)
    else:
        monkeypatch.setattr(baskets.views, "parked", parked)
    with pytest.raises(StoreUnavailableError, match="baskets: it was changed again and again while it was folded"):
        await Looked(baskets).differences()


def test_a_difference_is_a_sentence() -> None:
    table = table_of(ProductSales)
    row = ProductSales(product="pen", sold=1, revenue=Decimal(1))
    assert str(Difference(table, row, row.replace(sold=2))) == "product_sales pen: sold is 1, not 2."
    assert str(Difference(table, None, row)) == "product_sales pen is missing."
    assert str(Difference(table, row, None)) == "product_sales pen is there, and the log makes no such row."
