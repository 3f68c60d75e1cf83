"""What is said of a projection that is not well, from statuses that are made up."""

from typing import Any

import pytest

from diptych.app.firing import Holding, agreed, orphaned, parked_in_store, wrong_with
from diptych.store.alerts import Alert, Firing
from diptych.store.batches import ParkedEvent
from diptych.subscriptions.trend import Trend
from tests.app.statuses import FROZEN, HANGING, LATE, PARKED, STOPPED, status

LIMIT = 30.0


def said(trend: Trend | None = None, **changes: Any) -> list[tuple[str, str]]:
    return [(one.kind, one.message) for one in wrong_with(status(**changes), LIMIT, trend)]


def test_of_a_projection_that_is_well_nothing_is_said() -> None:
    assert said() == []
    assert said(lag_events=3, lag_seconds=LIMIT, idle_seconds=LIMIT) == []


def test_lag_is_said_in_seconds_and_events_with_its_end() -> None:
    trend = Trend(applied=4.0, arriving=1.0, direction="catching up", eta=4.0)
    assert said(trend, **LATE) == [
        (
            "lag",
            "tallies is 42.0 s behind (limit 30 s): 12 events wait after position 28. 4.0 events a second are applied "
            "and 1.0 arrive: it will have caught up in 4.0 s. Type: diptych projection show tallies",
        )
    ]


def test_who_will_never_catch_up_says_so() -> None:
    trend = Trend(applied=1.0, arriving=2.5, direction="falling behind", eta=None)
    ((_, message),) = said(trend, **LATE)
    assert "1.0 events a second are applied and 2.5 arrive: it will never catch up at this rate." in message


def test_why_nobody_works_on_it_is_not_why_a_key_is_parked() -> None:
    nobody = "no living process works on tallies. Start one: `diptych run --only workers`"
    assert said(state="stopped", error=nobody, parked=1, lag_events=0) == [
        ("stopped", f"tallies stopped at position 40: {nobody}."),
        ("parked", "tallies has 1 parked key. Mend it, then type: diptych projection retry tallies"),
    ]


@pytest.mark.parametrize(
    ("changes", "kind", "command"),
    [
        (LATE, "lag", "diptych projection show tallies"),
        ({**LATE, "state": "paused"}, "lag", "diptych projection resume tallies"),
        (STOPPED, "stopped", "diptych projection retry tallies"),
        (PARKED, "parked", "diptych projection retry tallies"),
        (FROZEN, "frozen", "diptych projection rebuild tallies"),
        (HANGING, "dead", "diptych projection show tallies"),
    ],
)
def test_every_sentence_ends_with_what_to_type(changes: dict[str, Any], kind: str, command: str) -> None:
    ((found, message),) = said(**changes)
    assert found == kind
    assert message.startswith("tallies ")
    assert message.endswith(f". {'Mend it, then type' if 'retry' in command else 'Type'}: {command}")
    assert ".." not in message


def test_an_error_that_says_itself_what_to_type_is_left_as_it_is() -> None:
    ((_, message),) = said(state="frozen", error="it has another shape. Type `diptych projection rebuild tallies`.")
    assert message.endswith("it has another shape. Type `diptych projection rebuild tallies`.")
    assert message.count("diptych") == 1


def test_a_dead_loop_is_red_and_not_lag_0() -> None:
    """P6: a dead loop looks like a quiet one but for its heartbeat."""
    (dead,) = wrong_with(status(**HANGING), LIMIT)
    assert (dead.kind, dead.value) == ("dead", 31.0)
    assert "its loop has not turned for more than 30 s" in dead.message


def test_a_short_limit_does_not_make_a_quiet_loop_dead() -> None:
    assert wrong_with(status(idle_seconds=6.0), 0.05) == []


def test_of_what_stopped_or_hangs_it_is_not_also_said_that_it_is_behind() -> None:
    assert [kind for kind, _ in said(**STOPPED)] == ["stopped"]
    assert [kind for kind, _ in said(**HANGING, **LATE)] == ["dead"]


def test_frozen_rows_that_get_old_are_behind_too() -> None:
    assert [kind for kind, _ in said(**FROZEN, **LATE)] == ["frozen", "lag"]


def test_a_long_error_leaves_room_for_the_command() -> None:
    ((_, message),) = said(state="stopped", error="x" * 10_000)
    assert len(message) < 700
    assert message.endswith("diptych projection retry tallies")


def test_a_sentence_names_the_worker_whose_loop_it_is_about() -> None:
    (hanging,) = wrong_with(status(**HANGING), LIMIT, worker="ada")
    assert hanging.message.startswith("tallies hangs in worker ada: its loop")
    (stopped,) = wrong_with(status(**STOPPED), LIMIT, worker="ada")
    assert stopped.message.startswith("tallies stopped in worker ada at position 28: ")


def test_parked_keys_are_counted_as_they_are_kept() -> None:
    """Of a key that waits, only the first event has an error."""
    events = [ParkedEvent("a", 3, "boom."), ParkedEvent("b", 5, "bang"), ParkedEvent("a", 7, "")]
    (found,) = parked_in_store("tallies", events)
    assert found.value == 2
    assert found.message.startswith("tallies has 2 parked keys since position 3: boom. Mend it")
    assert parked_in_store("tallies", []) == []


def test_a_projection_that_nobody_works_on_is_dead() -> None:
    some = orphaned("tallies", Holding(frozenset({"ada"}), orphans=3, lanes=16, is_taken=True), 30.0)
    assert "no living worker has owned 3 of its 16 lanes for more than 30 s. " in some.message
    it = orphaned("tallies", Holding(frozenset(), orphans=1, lanes=1, is_taken=False), 30.0)
    assert "no living worker has owned its lane for more than 30 s, and no code that runs fits its rows. " in it.message


def test_what_another_living_worker_says_of_itself_is_left_to_it() -> None:
    theirs = Alert(1, "tallies", "dead", "tallies hangs in worker bob: ...", 40.0, 1, 1)
    mine = [Firing("tallies", "dead", "tallies hangs in worker ada: ..."), Firing("tallies", "lag", "behind")]
    others = [Firing("tallies", "parked", "2 parked keys"), Firing("counts", "lag", "behind")]
    assert agreed([*mine, *others], [theirs], {"bob"}) == [Firing("tallies", "dead", theirs.message, 40.0), *others]
    assert agreed([], [theirs], {"bob"}) == [Firing("tallies", "dead", theirs.message, 40.0)]
    assert agreed(mine, [theirs], {"eve"}) == mine
    assert agreed([], [theirs._replace(kind="lag")], {"bob"}) == []
