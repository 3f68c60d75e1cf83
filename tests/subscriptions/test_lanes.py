"""Which lane an event is in: by the id of its stream, so that a row has one lane."""

from collections import Counter
from uuid import UUID, uuid4

import pytest

from diptych.stream import StreamName, slice_of
from diptych.subscriptions.lanes import LANES, lane_of, slices_of


def test_ids_are_spread_over_all_lanes() -> None:
    found = Counter(lane_of(str(uuid4()), LANES) for _ in range(3200))
    assert sorted(found) == list(range(LANES))
    assert max(found.values()) < 2 * min(found.values())


def test_it_is_the_same_for_ever() -> None:
    assert [lane_of(f"00000000-0000-0000-0000-{n:012d}", LANES) for n in range(5)] == [10, 8, 14, 12, 10]


@pytest.mark.parametrize("lanes", [2, 4, 16, 1024])
def test_every_number_of_lanes_has_something_in_each(lanes: int) -> None:
    assert {lane_of(str(UUID(int=number)), lanes) for number in range(40 * lanes)} == set(range(lanes))


def test_a_projection_of_one_lane_has_them_all_in_it() -> None:
    assert {lane_of(str(uuid4()), 1) for _ in range(50)} == {0}


def test_a_lane_is_64_slices_of_its_own() -> None:
    """P1: a builder that reads only the slices of its lanes misses none of their events."""
    for _ in range(500):
        name = StreamName("acme", "Order", uuid4())
        (lane,) = [lane for lane in range(LANES) if name.slice in (slices_of([lane], LANES) or ())]
        assert lane == lane_of(str(name.id), LANES)


def test_streams_that_share_an_id_share_a_slice() -> None:
    """P1: an isolated projection keeps one row for all of them."""
    id = uuid4()
    names = [StreamName(tenant, category, id) for tenant in ("", "acme") for category in ("Order", "Basket")]
    assert {name.slice for name in names} == {slice_of(str(id))}


def test_slices_of_lanes_are_one_range_and_those_of_all_lanes_are_no_filter() -> None:
    assert slices_of([2, 3], LANES) == range(128, 256)
    assert slices_of([0, 2], LANES) == range(192)
    assert slices_of(range(LANES), LANES) is None
    assert slices_of([0], 1) is None
