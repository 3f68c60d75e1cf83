"""P7: which keys are put aside, from where on, and why."""

from typing import Final

from diptych.projections.batch import Draft
from diptych.projections.parking import Parked
from diptych.store.batches import ParkedEvent
from diptych.subscriptions.lanes import LANES, lane_of
from tests.projections import shop

A, B = (str(shop.order(name).id) for name in "12")
LANE_A, LANE_B = (lane_of(key, LANES) for key in (A, B))
LOADED: Final = [
    ParkedEvent(B, 3, "it broke", LANE_B),
    ParkedEvent(A, 4, "it broke, too", LANE_A),
    ParkedEvent(B, 7, "", LANE_B),
]


def parked() -> Parked:
    return Parked(LANES, LOADED, frozenset({9}))


def test_a_key_waits_from_its_first_event_on_and_that_says_why() -> None:
    one = parked()
    assert one.since == {B: 3, A: 4}
    assert one.errors == {3: "it broke", 4: "it broke, too"}
    assert one.error == "it broke"
    assert [event.position for event in one.of(B)] == [3, 7]
    assert one.at(7) == LOADED[2]
    assert one.at(5) is None
    assert one.keys([LANE_A]) == [A]


def test_an_event_that_fails_behind_another_does_not_move_the_beginning() -> None:
    one = Parked(LANES)
    first, second = shop.stored([(shop.order("1"), shop.placed()), (shop.order("1"), shop.added())], after=4)
    one.add(first, "first")
    one.add(second, "second")
    assert (one.since, one.errors) == ({A: 5}, {5: "first", 6: "second"})


def test_what_is_released_waits_for_nothing_and_says_nothing_any_more() -> None:
    one = parked()
    one.release(B)
    assert (one.since, one.errors, one.error) == ({A: 4}, {4: "it broke, too"}, "it broke, too")
    one.release(B)
    one.forget([LANE_A])
    assert (one.since, one.errors, one.error) == ({}, {}, None)


def test_a_batch_that_is_not_committed_changes_nothing() -> None:
    """P1: a copy is tried with."""
    one = parked()
    other = one.copy()
    (event,) = shop.stored([(shop.order("3"), shop.placed())], after=9)
    other.add(event, "new")
    other.release(A)
    assert (one.since, len(one.errors)) == ({B: 3, A: 4}, 2)
    assert (other.left_out, other.of(B)) == (frozenset({9}), one.of(B))


def test_what_waits_is_kept_with_its_lane_and_only_the_failing_event_with_a_reason() -> None:
    waiting = parked().waiting(Draft(None, [(B, 3), (B, 8)]))
    assert waiting == [ParkedEvent(B, 3, "it broke", LANE_B), ParkedEvent(B, 8, "", LANE_B)]
