"""P5, P6: a process as a worker: it beats, looks at the board, and hears which lanes are its share."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from diptych.store.leases import Board, Leases, Worker
from diptych.store.opening import open_stores
from diptych.subscriptions.coordinator import Coordinator
from diptych.subscriptions.place import has_ended, this_place
from diptych.subscriptions.reading import Pace
from diptych.subscriptions.spreading import Share
from diptych.testing.contracts.view_rows import STORE, TALLIES
from tests.waiting import until

pytestmark = pytest.mark.anyio

SLOW = Pace(lease=3600.0, first_pause=0.001, longest_pause=0.001)
"""It would beat every quarter of an hour."""
WHOLE = {1: Share(frozenset({0}), free=frozenset({0}))}


class Seeing:
    """Takes what it is told to take, and keeps what it was shown."""

    def __init__(self, *takes: int) -> None:
        self.takes, self.boards, self.shares = frozenset(takes), list[Board](), list[Mapping[int, Share]]()
        self.errors: list[Exception] = []
        self.changes: Callable[[], None] = lambda: None

    async def see(self, board: Board) -> frozenset[int]:
        """Look."""
        self.boards.append(board)
        self.changes()
        if self.errors:
            raise self.errors.pop()
        return self.takes

    def share(self, shares: Mapping[int, Share]) -> None:
        """Learn it."""
        self.shares.append(shares)


@pytest.fixture
async def leases() -> AsyncIterator[Leases]:
    """Of a store with one generation, of one lane."""
    stores = open_stores("memory:")
    await stores.views.open([TALLIES], store_id=STORE)
    yield stores.views.leases
    await stores.views.close()


@asynccontextmanager
async def running(coordinator: Coordinator, crew: Seeing) -> AsyncIterator[None]:
    """Let it run."""
    task = asyncio.create_task(coordinator.run(crew))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))
        await coordinator.leave()


async def test_what_is_taken_is_on_the_board_before_any_lane_is_shared(leases: Leases) -> None:
    """Else two workers could not know of each other."""
    crew, coordinator = Seeing(1), Coordinator(leases, SLOW)
    board = await coordinator.look(crew)
    assert [(one.id, one.place, one.takes) for one in board.workers] == [(coordinator.id, this_place(), frozenset({1}))]
    assert crew.shares == [WHOLE]
    seen = len(crew.boards)
    await coordinator.look(crew)
    assert len(crew.boards) == seen + 1  # it is known now


async def test_of_what_is_not_taken_nothing_is_shared(leases: Leases) -> None:
    crew, coordinator = Seeing(), Coordinator(leases, SLOW)
    await coordinator.look(crew)
    assert crew.shares == [{}]


async def test_who_only_looks_is_no_worker(leases: Leases) -> None:
    crew, coordinator = Seeing(1), Coordinator(leases, SLOW, is_worker=False)
    board = await coordinator.look(crew)
    assert (coordinator.id, list(board.workers), crew.shares) == ("", [], [{}])
    await coordinator.leave()


async def test_a_worker_whose_process_has_ended_is_taken_off_the_board(leases: Leases) -> None:
    """At once; what it had is free."""
    ghost = Worker("ghost", this_place(), frozenset({1}))
    await leases.beat(ghost, 3600.0)
    await leases.claim("ghost", "tallies", 1, [0])
    crew, coordinator = Seeing(1), Coordinator(leases, SLOW)
    board = await coordinator.look(crew)
    assert [one.id for one in board.workers] == [coordinator.id]
    assert crew.shares == [WHOLE]


async def test_what_is_taken_may_change_by_looking_but_not_for_ever(leases: Leases) -> None:
    crew = Seeing()

    def change() -> None:
        crew.takes = frozenset() if crew.takes else frozenset({1})

    crew.changes = change
    await Coordinator(leases, SLOW).look(crew)
    assert len(crew.boards) == 4
    assert len(crew.shares) == 1


async def test_who_leaves_is_no_worker_any_more(leases: Leases) -> None:
    crew, coordinator = Seeing(1), Coordinator(leases, SLOW)
    async with running(coordinator, crew):
        await coordinator.has_looked.wait()
        assert len((await leases.board()).workers) == 1
    assert (await leases.board()).workers == []
    assert has_ended(Worker(coordinator.id, this_place(), frozenset()))


async def test_it_looks_again_when_it_is_told_to(leases: Leases) -> None:
    crew, coordinator = Seeing(1), Coordinator(leases, SLOW)
    async with running(coordinator, crew):
        await coordinator.has_looked.wait()
        seen = len(crew.boards)
        await asyncio.sleep(0)
        assert len(crew.boards) == seen
        coordinator.hurry()
        await until(lambda: len(crew.boards) > seen)
        assert not coordinator._due.is_set()  # or it would look again and again


async def test_whatever_goes_wrong_it_beats_on(leases: Leases, caplog: pytest.LogCaptureFixture) -> None:
    """P6"""
    caplog.set_level(logging.WARNING)
    crew, coordinator = Seeing(1), Coordinator(leases, SLOW)
    crew.errors = [RuntimeError("a bug"), RuntimeError("another")]
    async with running(coordinator, crew):
        await until(lambda: crew.shares)
    assert "The board of projections cannot be read: a bug" in caplog.text


class Silent:
    """Leases of a server that takes what is sent and does not answer."""

    def __init__(self, leases: Leases) -> None:
        self.leases, self.asked, self.answers = leases, asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.leases, name)

    async def beat(self, *given: Any, **more: Any) -> Board:
        self.asked.set()
        await self.answers.wait()
        return await self.leases.beat(*given, **more)


async def test_a_store_that_does_not_answer_does_not_end_the_process(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X2, P7: what is watched is that the loop turns; a server may be silent for as long as it likes."""
    watched: list[float] = []
    monkeypatch.setattr("faulthandler.dump_traceback_later", lambda seconds, exit: watched.append(seconds))
    silent: Any = Silent(leases)
    pace = SLOW._replace(handler_seconds=0.02)
    coordinator = Coordinator(silent, pace, exits_when_hung=True)
    async with running(coordinator, Seeing(1)):
        await silent.asked.wait()
        await until(lambda: len(watched) > 3)
        silent.answers.set()
    assert set(watched) == {0.02}
    assert coordinator._turning is not None
    assert coordinator._turning.cancelled()  # nobody watches a process that has stopped


async def test_it_looks_often_while_something_is_held_for_a_moment(leases: Leases) -> None:
    """A moment is to be short, and nobody says when it is over."""
    await leases.pause("tallies", 5.0, reason="a rebuild", by="", yields=True)
    crew, coordinator = Seeing(1), Coordinator(leases, SLOW)
    async with running(coordinator, crew):
        await coordinator.has_looked.wait()
        seen = len(crew.boards)
        await until(lambda: len(crew.boards) > seen)


async def test_it_looks_again_soon_while_another_has_what_shall_be_ours(leases: Leases) -> None:
    crew, coordinator = Seeing(1), Coordinator(leases, SLOW)
    await leases.beat(Worker("old", "elsewhere 1", frozenset({1})), 3600.0)
    await leases.claim("old", "tallies", 1, [0])
    await leases.beat(Worker("old", "elsewhere 1", frozenset()), 3600.0)
    async with running(coordinator, crew):
        await until(lambda: crew.shares)
        assert crew.shares[0] == {1: Share(frozenset({0}))}
        await leases.leave("old")
        await until(lambda: crew.shares[-1] == WHOLE)


@pytest.mark.parametrize("is_ours", [True, False])
async def test_it_hurries_only_for_lanes_that_others_still_have(
    leases: Leases, monkeypatch: pytest.MonkeyPatch, is_ours: bool
) -> None:
    """Else every worker would look again and again."""
    monkeypatch.setattr("diptych.subscriptions.coordinator._SOON", 0.0)
    if not is_ours:
        await leases.beat(Worker("old", "elsewhere 1", frozenset({1})), 3600.0)
        await leases.claim("old", "tallies", 1, [0])
        await leases.beat(Worker("old", "elsewhere 1", frozenset()), 3600.0)
    crew, coordinator = Seeing(1), Coordinator(leases, SLOW)
    await coordinator.look(crew)
    assert (crew.shares[0] == WHOLE) is is_ours
    if is_ours:
        for _ in range(20):
            await asyncio.sleep(0)
        assert not coordinator._due.is_set()
    else:
        await until(coordinator._due.is_set)
