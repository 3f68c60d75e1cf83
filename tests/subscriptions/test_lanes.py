"""Which lane an event is in: by the id of its stream, so that a row has one lane."""

from collections import Counter
from uuid import uuid4

from diptych.subscriptions.lanes import LANES, lane_of


def test_ids_are_spread_over_all_lanes() -> None:
    found = Counter(lane_of(str(uuid4()), LANES) for _ in range(3200))
    assert sorted(found) == list(range(LANES))
    assert max(found.values()) < 2 * min(found.values())


def test_it_is_the_same_for_ever() -> None:
    assert [lane_of(f"00000000-0000-0000-0000-{n:012d}", LANES) for n in range(5)] == [10, 8, 14, 12, 10]


def test_a_projection_of_one_lane_has_them_all_in_it() -> None:
    assert {lane_of(str(uuid4()), 1) for _ in range(50)} == {0}
