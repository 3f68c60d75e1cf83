"""Which lanes move next: those that are furthest behind, together."""

from diptych.projections.held import Lane, hindmost
from diptych.store.batches import Checkpoint, LaneMove
from diptych.store.leases import Held
from tests.projections import shop


def lane(number: int, position: int, *, is_clean: bool = True) -> Lane:
    return Lane.of(Held(number, 1, Checkpoint(position, 1, b"e", 5), is_clean, 0))


def test_lanes_at_one_position_move_together() -> None:
    lanes = [lane(n, 7) for n in range(16)]
    group = hindmost(lanes, 16)
    assert (len(group.lanes), group.at.position, group.limit) == (16, 7, None)
    assert group.numbers is None  # all of them: no event is anybody else's


def test_the_hindmost_go_first_and_no_further_than_the_next() -> None:
    lanes = [lane(0, 30), lane(1, 10), lane(2, 20), lane(3, 10)]
    group = hindmost(lanes, 4)
    assert group.numbers == frozenset({1, 3})
    assert (group.at.position, group.limit) == (10, 20)


def test_a_part_of_the_lanes_takes_only_what_is_theirs() -> None:
    assert hindmost([lane(0, 5), lane(1, 5)], 16).numbers == frozenset({0, 1})


def test_lanes_that_were_left_uncleanly_go_by_themselves() -> None:
    group = hindmost([lane(0, 5), lane(1, 5, is_clean=False)], 16)
    assert (group.numbers, group.is_careful) == (frozenset({1}), True)


def test_care_ends_a_page_after_the_first_event_that_was_taken() -> None:
    one = lane(1, 5, is_clean=False)
    one.is_written(Checkpoint(500, 1), 0.0)
    assert one.is_careful  # nothing of interest was there: the batch that ended a process may begin later
    one.careful_until = 600
    one.is_written(Checkpoint(599, 1), 0.0)
    assert one.is_careful
    one.is_written(Checkpoint(600, 1), 0.0)
    assert not one.is_careful


def test_what_was_only_looked_at_is_not_on_disk() -> None:
    """P2: a lane is moved from where it is there."""
    one, (event,) = lane(3, 5), shop.stored([(shop.order("1"), shop.placed())], after=6)
    assert not one.has_unsaved
    one.scanned(event)
    assert one.has_unsaved
    assert one.at == Checkpoint(7, 1, event.event_id, event.recorded_at)
    assert one.move == LaneMove(3, 1, 5)
    one.is_written(one.at, 9.0)
    assert not one.has_unsaved
    assert (one.move, one.saved_at) == (LaneMove(3, 1, 7), 9.0)


def test_care_begins_anew_when_something_hangs() -> None:
    one = lane(1, 5, is_clean=False)
    one.careful_until = 600
    one.is_written(Checkpoint(600, 1), 0.0)
    one.take_care()
    assert one.is_careful
    one.is_written(Checkpoint(700, 1), 0.0)
    assert one.is_careful
