"""Where a lane of a duty stands: in memory, on disk, and when nobody knows whether a turn was written."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from diptych import App, new_id
from diptych.app.tuning import Tuning
from diptych.errors import CheckpointMovedError, StoreUnavailableError
from diptych.events.recorded import StoredEvent
from diptych.store.leases import Worker
from diptych.store.protocols import Append, Appended
from diptych.subscriptions.lane_place import LanePlace
from diptych.subscriptions.reading import Pace
from diptych.subscriptions.spreading import Share
from diptych.subscriptions.tasks import Task
from diptych.subscriptions.turn import Turn
from tests.sagas.faults import Append_, on_append
from tests.sagas.shop import OrderPlaced, PlaceOrder, shop
from tests.waiting import until

pytestmark = pytest.mark.anyio


@dataclass
class Lane:
    """A lane that nobody else works on, and the app whose it was."""

    app: App
    place: LanePlace
    desk: Any
    tasks: Any
    log: Sequence[StoredEvent]
    written: int = 0

    def turn(self, *, is_empty: bool = True) -> Turn:
        """A turn with nothing in it, or with one task."""
        turn: Turn = self.desk.turn(0, self.tasks)
        if not is_empty:
            turn.put(Task(new_id(), 0, "event", "key", 1, "Do"))
        return turn

    async def on_disk(self) -> int:
        """Where it stands there."""
        places = await self.app.events.inline.places("send_receipt", self.desk.generation)
        return places[0].position


@pytest.fixture
async def lane(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lane]:
    """Lane 0 at the beginning of a log with a few events."""
    app = App("memory:", tuning=Tuning(pace=Pace(lease=3600.0)))
    app.include(shop())

    @app.reaction(begins="beginning")
    async def send_receipt(event: OrderPlaced) -> None:
        pass

    async with app:
        (keeper,) = app._started().duties.keepers
        await until(lambda: len(keeper.works) == 4)
        keeper.share(Share())
        await until(lambda: not keeper._running)
        for _ in range(4):
            await app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))
        generation, log = keeper._desk.generation, (await app.events.read_log(after=0)).events
        await app.events.inline.leases.beat(Worker("test", "", frozenset({generation})), 3600.0)
        (held,) = await app.events.inline.leases.claim("test", "send_receipt", generation, [0])
        found = Lane(app, LanePlace(keeper.duty, keeper._desk, held), keeper._desk, keeper.duty.tasks, log)

        async def count(one: Append, append: Append_) -> Appended:
            found.written += 1
            return await append(one)

        on_append(app, monkeypatch, count)
        yield found


async def test_a_turn_without_anything_is_written_now_and_then(lane: Lane) -> None:
    """Not for each page of a log in which nothing is for the lane; the next that is written says it, too."""
    await lane.place.commit(lane.turn(), to=lane.log[0])
    assert (lane.written, lane.place.position, await lane.on_disk()) == (1, 1, 1)  # it was never written before
    await lane.place.commit(lane.turn(), to=lane.log[1])
    assert (lane.written, lane.place.position, await lane.on_disk()) == (1, 2, 1)
    await lane.place.commit(lane.turn(is_empty=False), to=lane.log[2])
    assert (lane.written, lane.place.position, await lane.on_disk()) == (2, 3, 3)


async def test_a_turn_without_anything_is_written_when_it_has_to_be(lane: Lane) -> None:
    for at, written in ((0, 1), (1, 2)):
        await lane.place.commit(lane.turn(), to=lane.log[at], at_once=True)
        assert (lane.written, await lane.on_disk()) == (written, at + 1)


async def test_a_lane_that_has_not_moved_is_not_written_again(lane: Lane) -> None:
    await lane.place.commit(lane.turn())
    assert (lane.written, lane.place.position) == (0, 0)


async def test_what_was_done_without_moving_is_written(lane: Lane) -> None:
    await lane.place.commit(lane.turn(is_empty=False))
    assert (lane.written, lane.place.position) == (1, 0)


async def cut(lane: Lane, monkeypatch: pytest.MonkeyPatch, *, is_stored: bool) -> None:
    """Cancel a turn while it is being written, and have it stored or refused after that."""
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(one: Append, append: Append_) -> Appended:
        begun.set()
        await goes_on.wait()
        if not is_stored:
            raise StoreUnavailableError("away")
        return await append(one)

    with monkeypatch.context() as patched:
        on_append(lane.app, patched, slow)
        writing = asyncio.create_task(lane.place.commit(lane.turn(is_empty=False), to=lane.log[0]))
        await begun.wait()
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing
        assert lane.place.position == 0
        assert not await lane.place.is_sure(0.0)
        goes_on.set()


async def test_a_turn_that_was_cut_short_and_stored_is_gone_on_from(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S1: the place is moved from where it is on disk."""
    assert await lane.place.is_sure(0.0)
    await cut(lane, monkeypatch, is_stored=True)
    assert await lane.place.is_sure(10.0)
    assert await lane.place.is_sure(0.0)
    assert (lane.place.position, lane.place.event_id) == (1, lane.log[0].event_id)
    await lane.place.commit(lane.turn(is_empty=False), to=lane.log[1])
    assert await lane.on_disk() == 2


async def test_on_a_turn_that_was_cut_short_and_refused_nothing_is_built(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cut(lane, monkeypatch, is_stored=False)
    assert not await lane.place.is_sure(10.0)
    assert lane.place.position == 0


async def test_who_lost_the_lane_writes_nothing(lane: Lane) -> None:
    """P5"""
    leases, generation = lane.app.events.inline.leases, lane.desk.generation
    await leases.beat(Worker("next", "", frozenset({generation})), 3600.0, dead=["test"])
    assert await leases.claim("next", "send_receipt", generation, [0])
    with pytest.raises(CheckpointMovedError):
        await lane.place.commit(lane.turn(is_empty=False), to=lane.log[0])
    assert (lane.place.position, await lane.on_disk()) == (0, 0)
