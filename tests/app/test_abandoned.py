"""Alerts of what was removed or renamed: resolved when nobody can have the old code any more, and not before."""

from collections.abc import Sequence

from diptych.app.abandoned import Abandoned
from diptych.store.alerts import Alert
from diptych.store.generations import Generation
from diptych.store.leases import Board, Worker

PATIENCE = 60.0
ALERT = Alert(7, "tallies", "lag", "tallies is 42.0 s behind. Type: diptych projection show tallies", 42.0, 1, 1)
WHY = "Resolved as nobody works on it: no code that runs has tallies any more"
OLD = Generation("tallies", 3, "live", 1, "shape", 1, "code", ("tally",), True, 0)


def board(*workers: Worker, generations: Sequence[Generation] = (OLD,)) -> Board:
    return Board(0, workers, generations, [], {}, [])


def words(abandoned: Abandoned, now: float, *workers: Worker, alert: Alert = ALERT) -> list[str]:
    return [one.message for one in abandoned.over(now, [alert], [board(), board(*workers)])]


def test_it_is_over_when_nobody_has_worked_on_it_for_a_while() -> None:
    abandoned = Abandoned(PATIENCE)
    assert words(abandoned, 0.0) == words(abandoned, 59.0) == []
    assert words(abandoned, 60.0) == [f"{ALERT.message}. {WHY}"]


def test_it_is_the_matter_of_whoever_has_the_old_code_yet() -> None:
    """A rolling deploy: old processes work on, beside new ones that never heard of it."""
    abandoned, old = Abandoned(PATIENCE), Worker("ada", "", frozenset({3}))
    assert words(abandoned, 0.0) == words(abandoned, 50.0, old) == words(abandoned, 70.0) == []
    assert words(abandoned, 129.0) == []
    assert words(abandoned, 130.0) != []


def test_what_a_living_worker_says_of_itself_is_its_own_matter() -> None:
    stopped = ALERT._replace(kind="stopped", message="tallies stopped in worker ada at position 3")
    abandoned, ada = Abandoned(PATIENCE), Worker("ada", "", frozenset())
    assert words(abandoned, 0.0, ada, alert=stopped) == words(abandoned, 60.0, ada, alert=stopped) == []
    assert words(abandoned, 60.0, alert=stopped) == []
    assert words(abandoned, 120.0, alert=stopped) == [f"{stopped.message}. {WHY}"]


def test_what_somebody_raises_again_is_left_longer_each_time() -> None:
    """One that only answers has the old code, and is on no board: it would be raised and resolved in turn."""
    abandoned = Abandoned(PATIENCE)
    assert words(abandoned, 0.0) == []
    assert words(abandoned, 60.0) != []
    assert words(abandoned, 70.0) == words(abandoned, 189.0) == []
    assert words(abandoned, 190.0) != []


def test_what_is_resolved_meanwhile_is_waited_for_anew() -> None:
    abandoned = Abandoned(PATIENCE)
    assert words(abandoned, 0.0) == []
    assert list(abandoned.over(30.0, [], [board()])) == []
    assert words(abandoned, 60.0) == []


def test_the_reason_is_said_once() -> None:
    """By two processes at once, or by one that ended before it had resolved it."""
    abandoned, said = Abandoned(PATIENCE), ALERT._replace(message=f"{ALERT.message}. {WHY}")
    assert words(abandoned, 0.0, alert=said) == []
    assert words(abandoned, 60.0, alert=said) == [said.message]
