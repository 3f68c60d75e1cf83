"""R1: what an answer says of its age, and how a wait for a place in the log ends."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from diptych.clock import new_id
from diptych.errors import StaleReadError
from diptych.messages import Receipt
from diptych.read.freshness import NOT_ASKED, Known, fresh, known_of
from diptych.read.read_models import ReadModels
from diptych.read.waiting import Wanted, wait
from diptych.store.batches import Checkpoint, Freshness, ParkedEvent
from diptych.store.protocols import ViewStore
from diptych.subscriptions.progress import Place, Progress, State

pytestmark = pytest.mark.anyio


def progress(name: str = "orders", position: int = 5, generation: int = 1, state: State = "running") -> Progress:
    """A projection as this process knows it."""
    made = Progress(name, event_types=frozenset({"Placed"}))
    made.turns_to(generation)
    made.advance(position)
    made.shows(state, None)
    return made


def models(*found: Freshness) -> ReadModels:
    """A snapshot in which the projections stand there, in this order."""
    left = list(found)

    async def freshness(name: str) -> Freshness:
        return left.pop(0)

    return cast(ReadModels, SimpleNamespace(freshness=freshness))


def at(position: int, generation: int = 1, parked: int = 0) -> Freshness:
    return Freshness(Checkpoint(position, 1, b"e%d" % position, position * 10), parked, generation)


async def test_of_no_projection_nothing_is_said() -> None:
    assert await fresh(models(), [], {}) is NOT_ASKED


@pytest.mark.parametrize(
    ("known", "position", "is_of_another"),
    [((1, 8), 8, False), ((1, 3), 5, False), ((2, 8), 5, True), (None, 5, False)],
    ids=["further", "behind", "other rows", "unknown"],
)
async def test_what_was_known_before_counts_for_the_same_rows_alone(
    known: tuple[int, int] | None, position: int, is_of_another: bool
) -> None:
    """A projection that had looked further than its checkpoint found nothing of interest there."""
    one = progress(position=0)
    before: Mapping[Progress, Known] = {}
    if known is not None:
        before = {one: known_of(progress(position=known[1], generation=known[0]))}
    found = await fresh(models(at(5)), [one], before)
    assert (found.position, found.is_of_another) == (position, is_of_another)


async def test_rows_of_a_generation_that_was_not_known_yet_are_of_another() -> None:
    assert (await fresh(models(at(5, generation=2)), [progress()], {})).is_of_another


async def test_an_answer_is_as_fresh_as_the_last_of_its_projections_and_as_old_as_the_oldest() -> None:
    late, early = progress("late"), progress("early")
    late.head = early.head = 100
    late.behind_since = early.behind_since = 1_000_000
    found = await fresh(models(at(7), at(5), at(9)), [early, late, progress()], {})
    assert (found.position, found.event_id, found.recorded_at) == (5, b"e5", 50)
    assert found.age > 1_000_000


@pytest.mark.parametrize(
    ("states", "parked", "reason"),
    [
        (["running", "running"], [0, 0], None),
        (["running", "running"], [0, 1], "parked"),
        (["parked", "running"], [0, 0], "parked"),
        (["stopped", "parked"], [0, 0], "stopped"),
        (["parked", "frozen"], [0, 0], "frozen"),
        (["running", "paused"], [1, 1], "paused"),
    ],
)
async def test_an_answer_says_what_is_wrong_with_its_rows(
    states: Sequence[State], parked: Sequence[int], reason: str | None
) -> None:
    """That they do not move is worse than that some are missing."""
    found = models(*[at(5, parked=count) for count in parked])
    assert (await fresh(found, [progress(state=state) for state in states], {})).reason == reason


class Views:
    """A view store of which some events are parked, and which may be a copy that is late."""

    def __init__(self, *parked: int, reads_a_copy: bool = False, is_copied: bool = True) -> None:
        self._parked, self.reads_a_copy, self._is_copied = parked, reads_a_copy, is_copied

    async def parked(self, name: str) -> Sequence[ParkedEvent]:
        """What is put aside."""
        return [ParkedEvent("key", position, "", 0) for position in self._parked]

    async def is_copied(self, seconds: float) -> bool:
        """Whether the copy has it."""
        return self._is_copied


async def waited(views: Views, *among: Progress, wanted: int = 5, types: frozenset[str] | None = None) -> str | None:
    given: Any = views
    found = await wait(Wanted(wanted, types), among, cast(ViewStore, given), 0.01)
    assert 0 <= found.seconds < 3600  # of this wait, and not the clock's
    if found.reason is not None:
        with pytest.raises(StaleReadError, match="orders"):
            found.or_raise()
    else:
        found.or_raise()
    return found.reason


async def test_who_is_there_is_not_waited_for() -> None:
    assert await waited(Views(), progress(position=5)) is None
    scanned = progress(position=4)
    scanned.stands(Place(5), 4)  # nothing of interest lies between
    assert await waited(Views(), scanned) is None


async def test_who_does_not_handle_the_event_is_not_waited_for() -> None:
    assert await waited(Views(), progress(position=4), types=frozenset({"Other"})) is None
    assert await waited(Views(), progress(position=4), types=frozenset({"Placed"})) == "behind"


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        (["running"], "behind"),
        (["running", "paused"], "paused"),
        (["paused", "stopped"], "stopped"),
        (["stopped", "frozen", "running"], "frozen"),
    ],
)
async def test_a_wait_in_vain_says_the_worst(states: Sequence[State], reason: str) -> None:
    assert await waited(Views(), *[progress(position=4, state=state) for state in states]) == reason


async def test_an_event_that_is_put_aside_is_not_in_the_answer() -> None:
    """Also where another process did it: only the store knows of that."""
    here, elsewhere, nowhere = progress(), progress(), progress()
    here.parked = 1
    elsewhere.hears({1: Place(5)})
    for one in (here, elsewhere):
        assert await waited(Views(5), one) == "parked"
        assert await waited(Views(4), one) is None
    assert await waited(Views(5), nowhere) is None


async def test_a_copy_that_is_late_is_behind() -> None:
    assert await waited(Views(reads_a_copy=True, is_copied=False), progress()) == "behind"
    assert await waited(Views(reads_a_copy=True), progress()) is None
    assert await waited(Views(is_copied=False), progress()) is None


def test_what_is_waited_for_is_of_the_events_that_were_recorded_if_that_is_known() -> None:
    """A command that recorded nothing may have decided on anybody's event, and a token names no types."""
    event_id = new_id().bytes
    receipt: Receipt[None] = Receipt(None, 7, event_id, {}, new_id(), frozenset({"Placed"}))
    assert Wanted.of(receipt) == Wanted(7, frozenset({"Placed"}), event_id[8:])
    assert Wanted.of(replace(receipt, event_types=frozenset())) == Wanted(7, None, event_id[8:])
    assert Wanted.of(receipt.token) == Wanted(7, None, event_id[8:])
