"""Which generations a process works on, given its code."""

import pytest

from diptych.projections.choosing import Choice, built_by_others, choose, is_same_code, may_not_build
from diptych.store.batches import ProjectionTables
from diptych.store.generations import Generation, GenerationState
from diptych.store.leases import Board, Worker

TABLES = ProjectionTables("sales", (), version=2, lanes=1, code="3.11:abc")
OLD = TABLES._replace(version=1)


def generation(
    number: int, state: GenerationState = "live", of: ProjectionTables = TABLES, code: str = "3.11:abc"
) -> Generation:
    return Generation("sales", number, state, of.version, of.shape, of.lanes, code, (), True, 0)


def test_the_live_one_is_worked_on_when_it_fits() -> None:
    choice = choose(TABLES, [generation(1, "kept", OLD), generation(2)], "rebuild")
    assert choice == Choice(generation(2), is_fitting=True, is_readable=True, builds=False, why=None)


def test_where_nothing_is_read_there_is_nothing_to_do_but_to_say_so() -> None:
    choice = choose(TABLES, [generation(1, "building")], "rebuild")
    why = "sales has no rows in this store"
    assert choice == Choice(None, is_fitting=False, is_readable=True, builds=False, why=why)


@pytest.mark.parametrize("other", [generation(2, "kept", OLD), generation(2, "building")], ids=["older", "begun"])
def test_only_what_is_of_this_code_and_was_read_hinders_another_build(other: Generation) -> None:
    assert choose(TABLES, [generation(1, of=OLD), other], "rebuild").builds


def test_one_that_other_code_made_is_built_again_beside_it() -> None:
    choice = choose(TABLES, [generation(1, of=OLD)], "rebuild")
    assert (choice.is_fitting, choice.is_readable, choice.builds) == (False, True, True)


def test_it_stays_as_it_is_when_it_shall() -> None:
    choice = choose(TABLES, [generation(1, of=OLD)], "freeze")
    assert not choice.builds
    assert choice.why is not None
    assert "`diptych projection rebuild sales`" in choice.why


def test_tables_of_another_shape_cannot_be_read() -> None:
    live = generation(1)._replace(shape="another")
    assert not choose(TABLES, [live], "rebuild").is_readable


def test_what_was_left_on_purpose_is_not_built_again_but_in_development() -> None:
    """By a roll-back, or by newer code: else old and new code side by side would build against each other for ever."""
    rolled_back = [generation(1, of=OLD), generation(2, "kept")]
    choice = choose(TABLES, rolled_back, "rebuild")
    assert not choice.builds
    assert "`diptych projection rollback sales` for generation 2" in str(choice.why)
    assert choose(TABLES, rolled_back, "rebuild", is_development=True).builds
    assert not choose(TABLES, rolled_back, "rebuild", is_development=True, is_taken=True).builds


@pytest.mark.parametrize(("is_development", "on_change", "builds"), [(True, "rebuild", True), (True, "freeze", False)])
def test_other_methods_are_a_change_in_development_alone(is_development: bool, on_change: str, builds: bool) -> None:
    live = [generation(1, code="3.11:other")]
    choice = choose(TABLES, live, "freeze" if on_change == "freeze" else "rebuild", is_development=is_development)
    assert (choice.is_fitting, choice.builds) == (True, builds)
    assert not choose(TABLES, live, "rebuild").builds


def test_two_processes_in_development_do_not_build_against_each_other() -> None:
    left = [generation(1, "kept"), generation(2, code="3.11:other")]
    assert choose(TABLES, left, "rebuild", is_development=True).builds  # a change that was taken back
    assert not choose(TABLES, left, "rebuild", is_development=True, is_taken=True).builds


def test_of_two_versions_of_python_a_hash_tells_nothing() -> None:
    assert is_same_code("3.11:abc", "3.12:def")
    assert is_same_code("", "3.12:def")
    assert not is_same_code("3.12:abc", "3.12:def")


def test_what_others_build_is_told_with_those_who_do() -> None:
    """Not what this worker builds, nor what is of this code, nor of another projection, nor what is read."""
    theirs = generation(2, "building", OLD)
    built = [generation(1), theirs, generation(3, "building"), generation(4, "building", OLD)._replace(projection="x")]
    you, me = (Worker(id, "", frozenset(range(9))) for id in ("you", "me"))
    idle = Worker("idle", "", frozenset())
    board = Board(0, [you, me, idle], built, [], {}, [])
    assert list(built_by_others(TABLES, board, "me")) == [(theirs, you)]
    other = generation(5, "building", code="3.11:other")
    assert list(built_by_others(TABLES, board._replace(generations=[other]), "me")) == [(other, you)]


def test_who_may_not_make_tables_builds_nothing_and_says_who_may() -> None:
    choice = may_not_build(choose(TABLES, [generation(1, of=OLD)], "rebuild"), "sales")
    assert not choice.builds
    assert "as the owner of the schema" in str(choice.why)
