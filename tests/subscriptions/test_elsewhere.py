"""R1: where the lanes of others are, told as far as they can be known to be."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

import pytest

from diptych.store.batches import LaneMove, ViewBatch
from diptych.subscriptions.elsewhere import Elsewhere
from diptych.subscriptions.lanes import LANES, lane_of
from diptych.subscriptions.progress import Place, Progress
from tests.projections import shop
from tests.projections.running import Running, running

pytestmark = pytest.mark.anyio

ONE: Final = shop.order("1")
TWO: Final = next(
    name for name in map(shop.order, "23456789") if lane_of(str(name.id), LANES) != lane_of(str(ONE.id), LANES)
)
HERS: Final = lane_of(str(ONE.id), LANES)
ALL: Final = range(LANES)


@pytest.fixture
async def shop_() -> AsyncIterator[Running]:
    """A log of five events, of which one, the third, is of interest; and rows that nobody works on here."""
    async with running("memory:", shop.Baskets, is_started=False) as made:
        noise = (shop.customer("ada"), shop.Noise())
        await made.append([noise, noise, (ONE, shop.placed()), noise, noise])
        yield made


async def looked(shop_: Running, lanes: Mapping[int, Place], *, knows: bool = True, head: int = 5) -> Progress:
    """What is known after one look, when these lanes are another's."""
    progress = Progress("baskets", event_types=frozenset({"Placed", "Added"}))
    progress.turns_to(1)
    progress.head = head
    progress.has_no_lanes()
    progress.hears(lanes)
    elsewhere = Elsewhere(progress, shop_.events, shop_.views)
    elsewhere.lanes, elsewhere.knows = LANES, knows
    await elsewhere.look()
    return progress


async def carry(shop_: Running, position: int, lanes: Sequence[int] = ALL) -> None:
    """Move lanes on disk, as their owner would."""
    event = await shop_.events.read_log(after=position - 1, limit=1)
    place = (position, event.events[0].event_id, event.events[0].recorded_at)
    await shop_.views.commit(ViewBatch("baskets", 1, [LaneMove(lane, 0, 0) for lane in lanes], *place))


async def test_a_lane_is_as_far_as_there_is_nothing_of_interest_behind_it(shop_: Running) -> None:
    """Its owner writes that down only once a second."""
    progress = await looked(shop_, dict.fromkeys(ALL, Place()))
    (log, third) = [(await shop_.events.read_log(after=at - 1, limit=1)).events[0] for at in (2, 3)]
    assert {lane: place.position for lane, place in progress.elsewhere.items()} == {
        lane: 2 if lane == HERS else 5 for lane in ALL
    }
    assert progress.elsewhere[HERS] == Place(2, log.recorded_at, log.event_id)
    assert (progress.position, progress.behind_since) == (2, third.recorded_at)


async def test_what_is_on_disk_and_all_behind_it_is_known(shop_: Running) -> None:
    await carry(shop_, 3)
    progress = await looked(shop_, dict.fromkeys(ALL, Place()))
    assert {place.position for place in progress.elsewhere.values()} == {5}
    assert (progress.position, progress.behind_since) == (5, None)


async def test_where_other_code_may_know_better_only_what_is_on_disk_counts(shop_: Running) -> None:
    progress = await looked(shop_, dict.fromkeys(ALL, Place()), knows=False)
    assert {place.position for place in progress.elsewhere.values()} == {0}


async def test_lanes_that_are_here_are_not_looked_at(shop_: Running) -> None:
    """Neither are events of theirs what others have not applied."""
    others = {lane: Place() for lane in ALL if lane != HERS}
    progress = await looked(shop_, others)
    assert progress.elsewhere.keys() == others.keys()
    assert (progress.position, progress.behind_since) == (5, None)


@pytest.mark.parametrize("is_here", [True, False], ids=["here", "applied"])
async def test_how_old_is_what_is_not_applied_is_told_of_the_lanes_of_others_alone(
    shop_: Running, is_here: bool
) -> None:
    """Neither of an event whose lane is here, nor of one that its owner has applied."""
    await shop_.append([(TWO, shop.placed())])
    sixth = (await shop_.events.read_log(after=5, limit=1)).events[0]
    if not is_here:
        await carry(shop_, 3, [HERS])
    progress = await looked(shop_, {lane: Place() for lane in ALL if lane != HERS or not is_here})
    assert (progress.position, progress.behind_since) == (5, sixth.recorded_at)
    if not is_here:
        assert progress.elsewhere[HERS].position == 6
        progress = await looked(shop_, dict.fromkeys(ALL, Place()), knows=False)
        assert progress.behind_since == sixth.recorded_at


async def test_the_log_is_not_read_where_nobody_needs_to_know(shop_: Running) -> None:
    await carry(shop_, 3)
    progress = await looked(shop_, dict.fromkeys(ALL, Place()), head=3)
    assert progress.position == 3


async def test_what_was_seen_of_another_generation_is_thrown_away(shop_: Running) -> None:
    """A swap may come while it looks."""
    progress = Progress("baskets")
    progress.turns_to(1)
    progress.hears({0: Place()})
    elsewhere = Elsewhere(progress, shop_.events, shop_.views)
    places = shop_.views.places

    async def swapped(projection: str, generation: int | None = None) -> object:
        progress.turns_to(2)
        return await places(projection, generation)

    await carry(shop_, 3)
    shop_.views.places = swapped  # type: ignore[method-assign, assignment]
    await elsewhere.look()
    assert progress.elsewhere == {}
