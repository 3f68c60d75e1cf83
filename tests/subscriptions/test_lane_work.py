"""What is done with one lane: turn by turn, what is taken in, put aside, tried again, left out and thrown away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from diptych import App, FixedClock, new_id
from diptych.app.tuning import Tuning
from diptych.errors import ProgrammingError, RowChangedError
from diptych.store.batches import ViewBatch
from diptych.store.leases import Request, Worker
from diptych.store.protocols import Append
from diptych.subscriptions.duty import LANES, Finished
from diptych.subscriptions.lane_work import LaneWork, _failed, _is_through
from diptych.subscriptions.lanes import lane_of
from diptych.subscriptions.reading import Pace
from diptych.subscriptions.spreading import Share
from diptych.subscriptions.tasks import DONE, EVENT, PARKED, SKIPPED, TAKEN, TIMER, WAITING, Task
from tests.sagas.faults import rows
from tests.sagas.shop import OrderPlaced, PlaceOrder, shop
from tests.waiting import until

pytestmark = pytest.mark.anyio

MONTH = timedelta(days=30)
LANE = 1


class Lane:
    """A lane that nobody else works on, of a reaction that fails for the orders in `failing`."""

    def __init__(self) -> None:
        self.done: list[UUID] = []
        self.failing: set[UUID] = set()
        self.clock = FixedClock()
        self.app = App("memory:", tuning=Tuning(pace=Pace(lease=3600.0, first_pause=0.001, longest_pause=0.001)))
        self.app.include(shop())
        self.gate = asyncio.Event()
        self.gate.set()

        @self.app.reaction(begins="beginning")
        async def send_receipt(event: OrderPlaced) -> None:
            await self.gate.wait()
            if event.product_id in self.failing:
                raise ValueError("no paper")
            self.done.append(event.product_id)

    async def begins(self) -> None:
        """Take the lane away from the app."""
        (keeper,) = self.app._started().duties.keepers
        await until(lambda: len(keeper.works) == LANES)
        keeper.share(Share())
        await until(lambda: not keeper._running)
        self.duty, self.desk = keeper.duty, keeper._desk._replace(clock=self.clock, patience=5.0)
        self.leases = self.app.events.inline.leases
        await self.leases.beat(Worker("test", "", frozenset({self.desk.generation})), 3600.0)

    async def claimed(self) -> LaneWork:
        """Claim the lane, and begin as after a start."""
        (held,) = await self.leases.claim("test", "send_receipt", self.desk.generation, [LANE])
        work = self.duty.work(self.desk, held)
        assert isinstance(work, LaneWork)
        await work._begin()
        return work

    async def placed(self, count: int = 1, *, lane: int = LANE) -> list[UUID]:
        """Place orders of which the events are in that lane; each is known by its product."""
        ids: list[UUID] = []
        while len(ids) < count:
            order = new_id()
            if lane_of(str(order), LANES) == lane:
                await self.app.commands.dispatch(PlaceOrder(order_id=order, product_id=order, quantity=1))
                ids.append(order)
        return ids

    async def put(self, *tasks: Task) -> None:
        """Write down what is owed, without moving the lane."""
        turn = self.desk.turn(LANE, self.duty.tasks)
        for task in tasks:
            turn.put(task)
        beside = ViewBatch("send_receipt", self.desk.generation, [], 0, changes=turn.changes())
        await self.app.events.append(Append([], beside=beside))

    async def kept(self) -> list[Task]:
        """All that is written down of the lane."""
        found = await rows(self.app, self.duty.tasks, f"lane = {LANE} AND kind <> 'start' ORDER BY number")
        return [task for task in found if isinstance(task, Task)]

    async def turned(self, work: LaneWork) -> None:
        """Turn until there is nothing more to do."""
        is_done = False
        async with asyncio.timeout(20):
            while not is_done:
                is_done = not await work._turn() and not len(work._in_hand)
                await asyncio.sleep(0)

    async def asked(self, work: LaneWork, verb: Any, **what: Any) -> str:
        """Ask for something, and return how it was answered."""
        (request,) = await self.leases.ask_lane("send_receipt", verb, LANE, **{"key": "", "reason": "why", **what})
        work.is_asked([request])
        await work._turn()
        return next(one.outcome for one in await self.leases.requests() if one.id == request.id)


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    """Such a lane."""
    found = Lane()
    async with found.app:
        await found.begins()
        yield found


def owed(number: int, state: str = WAITING, kind: str = EVENT, **more: Any) -> Task:
    return Task(new_id(), LANE, kind, more.pop("key", f"key {number}"), number, "OrderPlaced", state=state, **more)


async def states(lane: Lane) -> list[tuple[str, str]]:
    return [(task.state, task.error) for task in await lane.kept()]


async def test_what_is_of_the_lane_is_done_and_nothing_of_others(lane: Lane) -> None:
    work = await lane.claimed()
    mine, _, more = await lane.placed(2), await lane.placed(2, lane=LANE + 1), await lane.placed()
    await lane.turned(work)
    assert sorted(lane.done) == sorted([*mine, *more])
    assert work.position == (await lane.app.events.head()).position
    assert work.error is None


async def test_outcomes_are_kept_for_a_month_and_others_for_as_long_as_they_matter(lane: Lane) -> None:
    work = await lane.claimed()
    await lane.put(owed(1, DONE), owed(2, SKIPPED), owed(3, PARKED))
    lane.clock.advance(MONTH)
    await work._turn()
    assert [task.number for task in await lane.kept()] == [1, 2, 3]
    await lane.put(owed(4, DONE))
    lane.clock.advance(timedelta(microseconds=1))
    await work._turn()
    assert [task.number for task in await lane.kept()] == [1, 2, 3, 4]  # it has just been looked
    lane.clock.advance(timedelta(minutes=1, microseconds=-1))
    await work._turn()
    assert [task.number for task in await lane.kept()] == [3, 4]


async def test_many_old_outcomes_are_thrown_away_one_piece_after_another(lane: Lane) -> None:
    """P8: and at once, not a piece a minute."""
    work = await lane.claimed()
    await lane.put(*[owed(number, DONE) for number in range(201)])
    lane.clock.advance(MONTH * 2)
    for left, is_woken in ((1, True), (0, False), (0, False)):
        work._wake.clear()
        await work._turn()
        assert (len(await lane.kept()), work._wake.is_set()) == (left, is_woken)


async def test_what_was_owed_before_is_done_after_a_start(lane: Lane) -> None:
    """S1: also what was taken and not taken note of, which is not done again."""
    (order,) = await lane.placed()
    (event,) = [row for row in (await lane.app.events.read_log(after=0)).events if row.stream_id == str(order)]
    await lane.put(
        owed(1, TAKEN), Task(UUID(bytes=event.event_id), LANE, EVENT, str(order), event.position * 1000, event.type)
    )
    work = await lane.claimed()
    assert not work.is_settled(0)
    assert work.error is not None
    await until(lambda: len(work._in_hand.finished(10)) == 2)
    work._place.position = event.position  # as whoever took the event in would have left it
    await lane.turned(work)
    assert lane.done == [order]
    assert [task.state for task in await lane.kept()] == [DONE, DONE]


async def test_an_event_that_is_not_in_the_log_any_more_is_said(lane: Lane) -> None:
    """After a restore of an older log, say."""
    work = await lane.claimed()
    with pytest.raises(ProgrammingError, match="send_receipt: position 99 is not in the log any more"):
        await work._perform(owed(99_000), None)


async def test_a_timer_that_is_due_is_known_from_the_start(lane: Lane) -> None:
    """S2: a lane with one is not at rest."""
    now = lane.desk.now()
    for due_at, is_due in ((now + 1, False), (now, True)):
        await lane.put(owed(1, kind=TIMER, due_at=due_at))
        work = await lane.claimed()
        assert work._timers.are_due(now) is is_due
        assert work._timers.next_due == due_at


async def test_what_failed_is_put_aside_with_all_of_its_key_that_follows_until_it_is_tried_again(lane: Lane) -> None:
    """D1: in the order of its stream."""
    work = await lane.claimed()
    first, second = await lane.placed(2)
    parked = Task(new_id(), LANE, EVENT, str(second), 1, "OrderPlaced", state=PARKED, error="no ink", attempts=3)
    await lane.put(parked, parked._replace(id=new_id(), number=2, error=""))
    work = await lane.claimed()
    await lane.turned(work)
    assert lane.done == [first]
    assert [error for state, error in await states(lane) if state == PARKED] == ["no ink", "", ""]
    assert await lane.asked(work, "retry", key="another") == "nothing was put aside"
    assert len([1 for state, _ in await states(lane) if state == PARKED]) == 3
    assert await lane.asked(work, "retry", key=str(second)) == "3 tried again"
    assert not [1 for state, _ in await states(lane) if state == PARKED]
    assert all(task.attempts == 0 and not task.error for task in await lane.kept() if task.key == str(second))


async def test_one_that_is_left_out_lets_those_behind_it_go_on(lane: Lane) -> None:
    """The one that failed, though a timer that waits for it may be before it; of no other key."""
    key, other = "a", "b"
    failed = owed(5, PARKED, key=key, error="no ink")
    await lane.put(owed(4, PARKED, TIMER, key=key, due_at=7), failed, owed(6, PARKED, TIMER, key=other, error="late"))
    work = await lane.claimed()
    assert await lane.asked(work, "skip") == "1 tried again, 1 left out"
    found = {task.number: task for task in await lane.kept()}
    assert (found[5].state, found[5].error) == (SKIPPED, "no ink (skipped: why)")
    assert (found[4].state, found[4].due_at) == (WAITING, 7)
    assert found[6].state == PARKED
    assert work._parked.keys() == {other}


async def test_what_waits_behind_nothing_goes_on_after_a_start(lane: Lane) -> None:
    """X1: what failed was cancelled, and the process ended before it went on with the rest."""
    await lane.put(owed(5, PARKED, TIMER, key="a", due_at=7), owed(6, PARKED, TIMER, key="b", error="late"))
    work = await lane.claimed()
    await work._turn()
    assert [(task.state, task.due_at) for task in await lane.kept()] == [(WAITING, 7), (PARKED, 0)]
    assert work._parked.keys() == {"b"}


async def test_a_request_is_carried_out_once(lane: Lane) -> None:
    """Though the board shows it until it was seen that it is answered."""
    work = await lane.claimed()
    (request,) = await lane.leases.ask_lane("send_receipt", "retry", LANE, key="")
    assert isinstance(request, Request)
    before = await lane.app.events.inline.places("send_receipt", lane.desk.generation)
    for _ in range(2):
        work.is_asked([request])
        assert work._wake.is_set()
        await work._turn()
    (answered,) = [one for one in await lane.leases.requests() if one.id == request.id]
    assert answered.outcome == "nothing was put aside"
    assert before == await lane.app.events.inline.places("send_receipt", lane.desk.generation)


async def test_an_event_whose_key_cannot_be_told_stops_the_lane(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be of any lane, so that none may pass it."""
    work = await lane.claimed()
    await lane.placed()

    def unknown(recorded: Any) -> str:
        raise KeyError("customer")

    monkeypatch.setattr(lane.duty, "key_of", unknown, raising=False)
    with pytest.raises(ProgrammingError, match=r"the key of \S+ at position \d+ cannot be told: KeyError: 'customer'"):
        await work._turn()
    assert work.position == 0


@pytest.mark.parametrize("fault", [KeyError("customer"), SystemExit(3)], ids=["raises", "exits"])
async def test_what_is_before_an_event_that_stops_the_lane_is_done_first(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    """S1: it was broken off, and begun again after each minute, for as long as the lane stood."""
    work, key_of = await lane.claimed(), lane.duty.key_of  # type: ignore[attr-defined]
    first, second, poison, _ = await lane.placed(4)

    def key(recorded: Any) -> str:
        if recorded.row.stream.id == poison:
            raise fault
        return str(key_of(recorded))

    monkeypatch.setattr(lane.duty, "key_of", key, raising=False)
    lane.gate.clear()
    assert await work._turn()
    for _ in range(3):  # what is in hand is not over
        assert not await work._turn()
    lane.gate.set()
    await until(lambda: len(work._in_hand.finished(10)) == 2)
    assert await work._turn()
    with pytest.raises(ProgrammingError, match=f"at position {work.position + 1} cannot be told: {fault!r:.8}"):
        await work._turn()
    assert sorted(lane.done) == sorted([first, second])
    assert [task.state for task in await lane.kept()] == [DONE, DONE]


async def test_a_page_with_very_many_events_is_taken_in_several_turns(lane: Lane) -> None:
    """P8: and the lane stands behind the last that was taken, not behind the page."""
    work = await lane.claimed()
    orders = await lane.placed(205)
    lane.gate.clear()
    assert await work._turn()
    assert work.position == [row.position for row in await lane_events(lane, orders)][199]
    assert (len(work._in_hand), len(await lane.kept())) == (200, 200)
    assert await work._turn()
    assert len(work._in_hand) == 205
    assert not work.is_settled(0)
    lane.gate.set()
    await lane.turned(work)
    assert sorted(lane.done) == sorted(orders)


async def lane_events(lane: Lane, orders: Sequence[UUID]) -> list[Any]:
    """The events of these orders."""
    ids = set(map(str, orders))
    return [row for row in (await lane.app.events.read_log(after=0)).events if row.stream_id in ids]


async def test_what_is_being_done_is_written_down_at_the_end_and_nothing_more_is_begun(lane: Lane) -> None:
    """S1: whoever comes next does not do it again."""
    work = await lane.claimed()
    orders = await lane.placed(3)
    lane.gate.clear()
    await work._turn()
    await until(lambda: bool(work._in_hand._performing))
    ending = asyncio.create_task(work.end())
    lane.gate.set()
    await ending
    assert sorted(lane.done) == sorted(orders)
    assert [state for state, _ in await states(lane) if state not in (DONE, SKIPPED)] == []
    places = await lane.app.events.inline.places("send_receipt", lane.desk.generation)
    assert places[LANE].position == work.position > 0
    again = await lane.claimed()
    await lane.turned(again)
    assert len(lane.done) == 3


async def test_a_paused_lane_begins_nothing_and_goes_on_when_it_may(lane: Lane) -> None:
    work = await lane.claimed()
    work.is_paused = True
    assert work.is_paused
    (order,) = await lane.placed()
    running = asyncio.create_task(work.run())
    await until(lambda: work._is_at_rest)
    assert (work.position, lane.done) == (0, [])
    work.is_paused = False
    work.wake()
    await until(lambda: lane.done == [order])
    await until(lambda: work.is_settled(work.position))
    assert not work.is_settled(work.position + 1)
    running.cancel()
    await asyncio.wait((running,))
    assert work._wake not in lane.desk.reader._listeners


async def test_what_an_operator_asks_in_a_pause_is_done_in_it(lane: Lane) -> None:
    """He stops it, leaves something out, and lets it go on: he was told that its owner was not there."""
    work = await lane.claimed()
    await lane.put(owed(1, PARKED, key="k", error="no", attempts=3), owed(2, PARKED, key="k"))
    work = await lane.claimed()
    work.is_paused = True
    running = asyncio.create_task(work.run())
    await until(lambda: work._is_at_rest)
    (request,) = await lane.leases.ask_lane("send_receipt", "skip", LANE, key="k", reason="why")
    work.is_asked([request])
    async with asyncio.timeout(5):
        while [task.state for task in await lane.kept()] != [SKIPPED, WAITING]:  # noqa: ASYNC110 - looked at, not told
            await asyncio.sleep(0.002)
    assert not work._in_hand._performing
    running.cancel()
    await asyncio.wait((running,))


async def test_what_was_begun_before_a_pause_is_written_down_when_it_ends(lane: Lane) -> None:
    """S1: a pause may be long, and whoever came after a crash in it did all of that again."""
    work = await lane.claimed()
    orders = await lane.placed(2)
    lane.gate.clear()
    running = asyncio.create_task(work.run())
    await until(lambda: len(work._in_hand._performing) == 2)
    work.is_paused = True
    work.wake()
    lane.failing.add(orders[1])
    lane.gate.set()
    await until(lambda: lane.done and not work._in_hand.finished(10) and not work._in_hand._performing)
    first, second = await lane.kept()
    assert (first.state, second.state, second.attempts) == (DONE, WAITING, 1)
    assert work.is_paused
    running.cancel()
    await asyncio.wait((running,))


def test_a_turn_rests_on_what_failed_and_not_on_what_another_has_done() -> None:
    """S1: whoever sees that a task took effect under another owner goes on with that."""
    failed, changed, fine = owed(1), owed(2), owed(3)
    error = RowChangedError("tasks", ("key",), "state", WAITING)
    given = [Finished(failed, None, ValueError()), Finished(changed, None, error), Finished(fine, 7)]
    assert _failed(given) == [failed]


async def test_a_timer_is_looked_for_again_when_an_event_that_it_may_have_waited_for_is_through(lane: Lane) -> None:
    """S2: one that is over, or put aside; not one that is tried again, and no command."""
    turn = lane.desk.turn(LANE, lane.duty.tasks)
    over, aside, again, command, fine = owed(1), owed(2), owed(3), owed(4, kind="command"), owed(5)
    turn.put(over)
    turn.drop(over.id)
    turn.drop(command.id)
    turn.park(aside, ValueError())
    turn.again(again, ValueError(), 1.0)
    through = [_is_through(task, turn) for task in (over, aside, again, command, fine)]
    assert through == [True, True, False, False, False]
    assert _is_through(owed(6, PARKED), turn)


@pytest.mark.parametrize("is_ending", [True, False])
async def test_what_failed_here_and_took_effect_elsewhere_is_not_tried_again(lane: Lane, is_ending: bool) -> None:
    """S1: an owner before may have done it after all; that is seen when the failure is written down."""
    work = await lane.claimed()
    (order,) = await lane.placed()
    lane.failing.add(order)
    lane.gate.clear()
    await work._turn()
    await until(lambda: bool(work._in_hand._performing))
    (task,) = await lane.kept()
    await lane.put(task._replace(state=TAKEN))
    lane.gate.set()
    if not is_ending:
        await until(lambda: bool(work._in_hand.finished(1)))
    with pytest.raises(RowChangedError):
        await (work.end() if is_ending else work._turn())
    assert [one.state for one in await lane.kept()] == [TAKEN]
