"""R1: what a process says of a projection counts every lane, also those that are on their way to it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from diptych.errors import StoreUnavailableError
from diptych.projections.choosing import Choice
from diptych.projections.definition import define
from diptych.projections.following import Following
from diptych.projections.knowing import Knowledge
from diptych.projections.plan import Mode
from diptych.projections.site import Rules, Site
from diptych.store.batches import Checkpoint, ParkedEvent
from diptych.store.generations import Generation
from diptych.store.leases import Board, LaneRow, Pause, Worker
from diptych.subscriptions.progress import Place, Progress
from diptych.subscriptions.reading import Pace
from diptych.telemetry.observer import QUIET
from tests.projections import shop
from tests.projections.running import running

pytestmark = pytest.mark.anyio
ONE = Generation("baskets", 1, "live", 1, "", 3, "", (), True, 0)
WHOLE: Final = Choice(ONE, is_fitting=True, is_readable=True, builds=False)


def knows(*, is_worker: bool = True, mode: Mode = "async") -> tuple[Knowledge, Progress]:
    """What process `me` knows before it has looked."""
    progress = Progress("baskets")
    progress.turns_to(1)
    rules: Any = SimpleNamespace(is_worker=is_worker, pace=Pace(lease=5.0))
    site: Any = SimpleNamespace(events=None, views=None, worker="me" if is_worker else "", rules=rules)
    return Knowledge(define(shop.Baskets, mode), progress, cast(Site, site)), progress


def knowledge(**owners: tuple[str, int]) -> tuple[Knowledge, Progress]:
    """What worker `me` knows of three lanes, each with its owner and position, as `l0=("me", 7)`."""
    known, progress = knows()
    rows = [
        LaneRow("baskets", 1, lane, 1, Checkpoint(position, 1), owner, "")
        for lane, (owner, position) in enumerate(owners.values())
    ]
    workers = [Worker(id, "", frozenset({1})) for id in ("me", "you")]
    known.take_in(Board(0, workers, [ONE], rows, {}, []), WHOLE, {})
    return known, progress


def test_lanes_that_come_are_counted_where_others_were_until_they_are_claimed() -> None:
    known, progress = knowledge(l0=("me", 9), l1=("you", 4), l2=("you", 9))
    progress.advance(9)
    known.reckon([0], [1])
    assert progress.position == progress.saved == 4
    progress.advance(9)
    known.reckon([0, 1], [])
    assert progress.position == 9


@pytest.mark.parametrize("coming", [[], [0], [0, 1, 2]])
def test_without_lanes_of_its_own_it_is_where_the_last_of_the_others_is(coming: list[int]) -> None:
    known, progress = knowledge(l0=("you", 9), l1=("you", 9), l2=("you", 4))
    progress.hears({0: Place(9), 1: Place(9), 2: Place(4)})
    known.reckon([], coming)
    assert progress.position == 4


def test_where_lanes_of_another_generation_were_says_nothing_of_what_is_read_now() -> None:
    known, progress = knowledge(l0=("you", 4), l1=("you", 4), l2=("you", 4))
    known.reckon([], [])
    progress.hears({0: Place(9), 1: Place(9), 2: Place(9)})
    known.reckon([], [])
    assert progress.position == 9
    progress.turns_to(2)
    two = ONE._replace(number=2)
    rows = [LaneRow("baskets", 2, lane, 1, Checkpoint(5, 1), "you", "") for lane in range(3)]
    known.take_in(Board(0, [Worker("you", "", frozenset({2}))], [two], rows, {}, []), WHOLE._replace(live=two), {})
    known.reckon([], [])
    assert progress.position == 5


STOPPED: Final = "it cannot go on past position 4"


def board(trouble: str = "", alive: Sequence[str] = ("me", "you"), **given: Any) -> Board:
    """How things are when lane 1 is another's, who may have said what keeps it."""
    rows = [
        LaneRow("baskets", 1, lane, 1, Checkpoint(4, 1), owner, trouble if owner == "you" else "")
        for lane, owner in enumerate(("me", "you", "me"))
    ]
    read = Board(0, [Worker(id, "", frozenset({1})) for id in alive], [ONE], rows, {}, [])
    return read._replace(**given)


def told(*boards: Board, held: Sequence[int] = (0, 2), choice: Choice = WHOLE) -> tuple[str, str | None]:
    """The state and error that are shown after one look at each of these boards."""
    known, progress = knowledge(l0=("me", 4), l1=("you", 4), l2=("me", 4))
    progress.shows("running")
    for each in boards:
        known.take_in(each, choice, {})
        known.reckon(held, [])
    return progress.state, progress.error


def test_what_stops_a_lane_of_another_is_told_once_it_is_said_twice() -> None:
    """What is left of an owner before is wiped by the next right after it has claimed."""
    assert told(board(STOPPED)) == ("running", None)
    assert told(board(STOPPED), board(STOPPED)) == ("stopped", STOPPED)
    assert told(board(STOPPED), board(), board(STOPPED)) == ("running", None)


def test_what_stopped_a_lane_is_not_told_of_one_held_here_or_of_an_owner_that_is_dead() -> None:
    assert told(board(STOPPED), board(STOPPED), held=[0, 1, 2]) == ("running", None)
    dead = board(STOPPED, alive=["me"])
    assert told(dead, dead) == ("running", None)


def test_a_pause_is_told_before_all_else() -> None:
    paused = board(STOPPED, paused={"baskets": Pause(None, "for the night")})
    assert told(paused, paused) == ("paused", "for the night")


def test_without_a_generation_that_is_read_it_is_frozen_and_says_why() -> None:
    nothing = Choice(None, is_fitting=False, is_readable=False, builds=False, why="nothing was built yet")
    assert told(board(), choice=nothing) == ("frozen", "nothing was built yet")


def test_nobody_who_may_work_on_it_is_told_as_stopped_and_another_who_may_as_running() -> None:
    other = WHOLE._replace(is_fitting=False, why="the code is newer")
    assert told(board(), choice=other) == ("running", None)
    assert told(board(alive=["me"]), choice=other) == ("frozen", "the code is newer")


NOBODY: Final = "no living process works on baskets. Start one: `diptych run --only workers`"


def test_where_this_process_does_not_work_it_is_running_for_as_long_as_another_does() -> None:
    known, progress = knows(is_worker=False)
    for read, state, error in (
        (board(), "running", None),
        (board(alive=[]), "stopped", NOBODY),
        (board(), "running", None),
    ):
        known.take_in(read, WHOLE, {})
        known.reckon([], [])
        assert (progress.state, progress.error) == (state, error)
        assert not progress.will_not_move  # a worker may come back at any moment


def test_an_inline_projection_needs_no_worker() -> None:
    known, progress = knows(is_worker=False, mode="inline")
    progress.shows("running")
    known.take_in(board(alive=[]), WHOLE, {})
    known.reckon([], [])
    assert progress.state == "running"


def test_what_its_last_owner_gave_up_on_is_waited_for_in_vain() -> None:
    known, progress = knows(is_worker=False)
    known.take_in(board(STOPPED, alive=[]), WHOLE, {})
    known.reckon([], [])
    assert (progress.state, progress.error, progress.will_not_move) == ("stopped", STOPPED, True)


def test_what_this_code_gave_up_on_is_stopped_unless_another_takes_it() -> None:
    """And nothing that it does not take is said to be of no interest to the other's code."""
    known, progress = knows()
    assert known._elsewhere.knows
    for read, state, error in ((board(), "running", None), (board(alive=["me"]), "stopped", STOPPED)):
        known.take_in(read, WHOLE, {1: STOPPED})
        known.reckon([], [])
        assert (progress.state, progress.error) == (state, error)
        assert not known._elsewhere.knows


@pytest.mark.parametrize(("age", "state"), [(4.9, "running"), (5.1, "stopped")])
def test_right_after_a_swap_those_who_worked_on_the_other_rows_may_not_have_seen_it(age: float, state: str) -> None:
    known, progress = knows(is_worker=False)
    two = ONE._replace(number=2, since=1_000_000)
    now = two.since + int(age * 1_000_000)
    known.take_in(board(alive=["you"], now=now, generations=[ONE, two]), WHOLE._replace(live=two), {})
    known.reckon([], [])
    assert progress.state == state


async def test_who_waits_has_the_lanes_of_others_looked_at() -> None:
    """R1: they may be further than was written down when the board was read."""
    known, progress = knows()
    known.take_in(board(), WHOLE, {})
    known.reckon([0, 2], [])
    assert known._elsewhere._watching is None
    waiting = asyncio.create_task(progress.wait_for(5, 10.0))
    await asyncio.sleep(0)
    known.reckon([0, 2], [])
    assert known._elsewhere._watching is not None
    known.close()
    with suppress(asyncio.CancelledError):
        await known._elsewhere._watching
    waiting.cancel()


async def test_where_the_lanes_of_others_are_is_looked_at_when_somebody_asks() -> None:
    """They have nothing to write down of events that concern nobody."""
    async with running("memory:", shop.Baskets, is_started=False) as made:
        await made.append([(shop.customer("ada"), shop.Noise())] * 3)
        progress = Progress("baskets", event_types=frozenset({"Placed"}))
        progress.turns_to(1)
        progress.head = 3
        progress.has_no_lanes()
        progress.hears(dict.fromkeys(range(16), Place()))
        site: Any = SimpleNamespace(events=made.events, views=made.views, worker="", rules=None)
        await Knowledge(define(shop.Baskets), progress, cast(Site, site)).look()
        assert progress.position == 3


@pytest.mark.parametrize(
    ("now", "takes", "state"),
    [(4_999_999, {2}, "running"), (5_000_000, {2}, "stopped"), (0, {3}, "stopped"), (0, set(), "stopped")],
)
def test_who_worked_on_what_was_read_before_has_the_time_of_a_lease_to_see_what_is_read_now(
    now: int, takes: set[int], state: str
) -> None:
    known, progress = knows(is_worker=False)
    before = ONE._replace(number=2, state="kept")
    known.take_in(Board(now, [Worker("you", "", frozenset(takes))], [ONE, before], [], {}, []), WHOLE, {})
    known.reckon([], [])
    assert progress.state == state


async def test_parked_keys_are_told_with_the_first_error_of_each_or_as_many_as_are_known_here() -> None:
    """The second while the store is away."""
    events = [ParkedEvent("a", 1, "no ink"), ParkedEvent("b", 2, "no paper"), ParkedEvent("a", 3)]

    async def parked(name: str) -> list[ParkedEvent]:
        if not events:
            raise StoreUnavailableError("away")
        return events

    rules, nothing = Rules(), lambda: None
    site: Any = SimpleNamespace(
        rules=rules, look=nothing, has_hung=nothing, observer=QUIET, events=None, views=SimpleNamespace(parked=parked)
    )
    following = Following(define(shop.Baskets), cast(Site, site))
    assert await following.parked_keys() == {"a": "no ink", "b": "no paper"}
    events.clear()
    assert await following.parked_keys() == {}
    following.progress.parked = 2
    assert await following.parked_keys() == {"0": "", "1": ""}
    following.progress.shows("parked", "no ink")
    assert await following.parked_keys() == {"0": "no ink", "1": "no ink"}
