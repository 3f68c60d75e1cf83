"""What commits beside appends and may go to the server together: all that does not look at each other's rows."""

from typing import Any

from diptych.store.batches import Answer, LaneMove, RowChanges, RowGuard, ViewBatch
from diptych.store.postgres.beside import together
from diptych.testing.contracts.view_rows import TALLIES, TALLY, Tally


def batch(*names: str, guards: tuple[str, ...] = (), gone: tuple[str, ...] = (), **more: Any) -> ViewBatch:
    changes = [RowChanges(TALLY, [Tally(name=name, total=1) for name in names], [(name,) for name in gone])]
    resting = [RowGuard(TALLY, (name,), "total", 0) for name in guards]
    return ViewBatch(TALLIES.name, more.pop("generation", 1), more.pop("moves", []), 0, changes=changes, guards=resting)


def names_of(batches: list[ViewBatch]) -> list[list[str]]:
    return [[row.name for change in each.changes for row in change.upserts] for each in batches]


def test_rows_of_their_own_go_together_in_one_change_of_the_table() -> None:
    (one,) = together([batch("a", guards=("a",)), batch("b", gone=("c",)), batch("d", guards=("e",))])
    assert len(one.changes) == 1
    assert names_of([one]) == [["a", "b", "d"]]
    assert list(one.changes[0].deletes) == [("c",)]
    assert [guard.key for guard in one.guards] == [("a",), ("e",)]


def test_who_touches_a_row_of_one_before_comes_after_it() -> None:
    """S1: a guard sees what was changed before it."""
    assert names_of(together([batch("a"), batch("b"), batch("c", guards=("a",)), batch("d")])) == [
        ["a", "b"],
        ["c", "d"],
    ]
    assert names_of(together([batch("a", gone=("x",)), batch("b", guards=("x",))])) == [["a"], ["b"]]
    assert names_of(together([batch("a", guards=("x",)), batch("x")])) == [["a"], ["x"]]
    assert names_of(together([batch("a"), batch("a")])) == [["a"], ["a"]]


def test_what_moves_a_lane_or_says_more_stays_by_itself_and_in_its_place() -> None:
    """P5"""
    moving = batch("b", moves=[LaneMove(0, 1, 0)])
    assert names_of(together([batch("a"), moving, batch("c"), batch("d")])) == [["a"], ["b"], ["c", "d"]]
    answering = batch("b")._replace(answer=Answer(1, "done"))
    assert names_of(together([batch("a"), answering])) == [["a"], ["b"]]
    assert names_of(together([batch("a"), batch("b", generation=2)])) == [["a"], ["b"]]


def test_nothing_stays_nothing() -> None:
    assert together([]) == []
