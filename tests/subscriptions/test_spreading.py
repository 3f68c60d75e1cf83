"""P5: who shall have which lane, as every worker works it out for itself."""

from collections.abc import Mapping

import pytest

from diptych.store.batches import Checkpoint
from diptych.store.generations import Generation
from diptych.store.leases import Board, LaneRow, Worker
from diptych.subscriptions.spreading import Share, owners, share


def generation(number: int = 1, lanes: int = 16, projection: str = "baskets") -> Generation:
    return Generation(projection, number, "live", 1, "", lanes, "", (), True, 0)


def board(workers: Mapping[str, set[int]], held: Mapping[int, str], of: Generation) -> Board:
    rows = [LaneRow(of.projection, of.number, n, 1, Checkpoint(), held.get(n, ""), "") for n in range(of.lanes)]
    return Board(0, [Worker(id, "", frozenset(takes)) for id, takes in workers.items()], [of], rows, {}, [])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 20])
def test_lanes_are_spread_evenly_over_the_workers(count: int) -> None:
    found = owners(generation(), [f"worker-{n}" for n in range(count)])
    sizes = [found.count(f"worker-{n}") for n in range(count)]
    assert sum(sizes) == 16
    assert max(sizes) - min(sizes) <= 1


def test_one_lane_projections_spread_over_the_workers_too() -> None:
    named = [generation(lanes=1, projection=f"projection_{n}") for n in range(40)]
    found = [owners(one, ["a", "b"])[0] for one in named]
    assert 10 <= found.count("a") <= 30


def test_it_does_not_matter_who_looks_and_in_which_order() -> None:
    ids = ["b", "c", "a"]
    assert owners(generation(), ids) == owners(generation(), sorted(ids)) == owners(generation(), set(ids))


def test_a_lane_is_wanted_by_one_of_all_that_take_the_generation_and_by_nobody_else() -> None:
    one = generation(number=7)
    seen = board({"a": {7}, "b": {7, 8}, "old": {3}}, {}, one)
    mine, theirs = share(seen, one, "a").lanes, share(seen, one, "b").lanes
    assert mine | theirs == set(range(16))
    assert not mine & theirs
    assert share(seen, one, "old") == Share()


def test_lanes_that_another_living_worker_still_has_are_not_free() -> None:
    one = generation()
    seen = board({"a": {1}, "b": {1}}, dict.fromkeys(range(16), "a") | {0: "gone", 1: "gone"}, one)
    part = share(seen, one, "b")
    assert part.free == part.lanes & {0, 1}
    assert share(seen, one, "a").free == share(seen, one, "a").lanes


def test_lanes_that_are_written_down_as_ones_own_and_shall_be_anothers_are_over() -> None:
    one = generation()
    seen = board({"a": {1}, "b": {1}}, dict.fromkeys(range(16), "a"), one)
    assert share(seen, one, "a").over == share(seen, one, "b").lanes
    assert share(seen, one, "b").over == frozenset()
    nobody = board({"a": {1}}, {}, one)
    assert share(nobody, one, "").over == frozenset()


def test_nobody_has_lanes_of_a_generation_that_nobody_takes() -> None:
    assert owners(generation(), []) == []
