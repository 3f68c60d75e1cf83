"""Lanes of duties change hands: what is paused stands, what runs may end, and no lane stays with who does not work."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from diptych import App, new_id
from diptych.app.tuning import Tuning
from diptych.store.leases import Board, LaneRow, Worker
from diptych.subscriptions.duty import LANES
from diptych.subscriptions.in_hand import InHand
from diptych.subscriptions.keeping import Keeper
from diptych.subscriptions.reading import Pace
from diptych.subscriptions.spreading import Share
from tests.sagas.shop import OrderPlaced, PlaceOrder, shop
from tests.urls import url_for
from tests.waiting import until

pytestmark = pytest.mark.anyio

ORDERS = 40  # enough for some in each lane


class Receipts:
    """A reaction that takes as long as the test wants, and notes what became of it."""

    def __init__(self, url: str, lease: float) -> None:
        self.begun, self.sent, self.cut = 0, 0, 0
        self.gate = asyncio.Event()
        self.app = App(url, tuning=Tuning(pace=Pace(lease=lease)))
        self.app.include(shop())

        @self.app.reaction
        async def send_receipt(event: OrderPlaced) -> None:
            self.begun += 1
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cut += 1
                raise
            self.sent += 1

    @property
    def keeper(self) -> Keeper:
        """Who keeps its lanes."""
        (keeper,) = self.app._started().duties.keepers
        return keeper

    async def place(self) -> None:
        """Place some orders."""
        for _ in range(ORDERS):
            await self.app.commands.dispatch(PlaceOrder(order_id=new_id(), product_id=new_id(), quantity=1))

    async def another_comes(self) -> None:
        """Have a worker be there that takes half of the lanes, and does nothing."""
        board = await self.app.events.inline.leases.board()
        takes = frozenset(one.number for one in board.generations if one.projection == "send_receipt")
        await self.app.events.inline.leases.beat(Worker(str(new_id()), "elsewhere 1", takes), 60)

    async def lanes_where(self, is_so: Callable[[LaneRow], bool], count: int) -> Board:
        """Return the board when so many lanes are so."""
        leases = self.app.events.inline.leases
        async with asyncio.timeout(10):
            while True:
                board = await leases.board()
                if sum(map(is_so, (row for row in board.lanes if row.projection == "send_receipt"))) == count:
                    return board
                await asyncio.sleep(0.005)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind."""
    return url_for(request, tmp_path)


async def test_what_is_paused_stands_from_the_first_moment_on(url: str) -> None:
    """Not only from the second look at the board on; and what is in hand is not begun either."""
    receipts = Receipts(url, lease=60)
    async with receipts.app as app:
        receipts.gate.set()
        await receipts.place()
        await app.settled()
        await app.events.inline.leases.pause("send_receipt", None, reason="the printer is broken", by="me")
    async with receipts.app as app:
        await until(lambda: len(receipts.keeper.works) == LANES)
        assert all(work.is_paused for work in receipts.keeper.works.values())


async def test_what_is_paused_begins_nothing_until_it_is_resumed_and_then_at_once() -> None:
    receipts = Receipts("memory:", lease=0.2)
    receipts.gate.set()
    async with receipts.app as app:
        await until(lambda: len(receipts.keeper.works) == LANES)
        await app.events.inline.leases.pause("send_receipt", None, reason="the printer is broken", by="me")
        await until(lambda: all(work.is_paused for work in receipts.keeper.works.values()))
        await receipts.place()
        assert receipts.begun == 0
        await app.events.inline.leases.resume("send_receipt")
        await until(lambda: receipts.sent == ORDERS, 4)  # an idle lane looks by itself every five seconds


async def test_what_runs_may_end_before_its_lane_is_let_go_of(url: str) -> None:
    """However often it is said meanwhile that the lane is another's."""
    receipts = Receipts(url, lease=0.2)
    async with receipts.app:
        await receipts.place()
        await until(lambda: receipts.begun == ORDERS)
        await receipts.another_comes()
        await until(lambda: sum(bool(each.cancelling()) for each in receipts.keeper._running.values()) == LANES // 2)
        looks = asyncio.Event()
        seen, see = list[Board](), receipts.keeper.see

        def count(board: Board) -> None:
            see(board)
            seen.append(board)
            if len(seen) == 4:
                looks.set()

        receipts.keeper.see = count  # type: ignore[method-assign]
        await looks.wait()
        receipts.gate.set()
        await receipts.lanes_where(lambda row: row.owner == "", LANES // 2)
        assert receipts.cut == 0
        await until(lambda: receipts.sent == ORDERS)


async def test_a_lane_that_is_let_go_of_is_free_at_once_and_not_known_any_more() -> None:
    """P6: others need not wait until this worker beats again, and who waits here waits for them."""
    receipts = Receipts("memory:", lease=3600)
    async with receipts.app as app:
        await until(lambda: len(receipts.keeper.works) == LANES)
        receipts.keeper.share(Share())
        await until(lambda: not receipts.keeper._running)
        board = await app.events.inline.leases.board()
        assert {row.owner for row in board.lanes if row.projection == "send_receipt"} == {""}
        assert receipts.keeper.works == {}


async def test_what_ends_while_its_lane_is_let_go_of_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S1: it is not done again when the app is back."""
    receipts, end = Receipts(f"sqlite:///{tmp_path}/shop.db", lease=60), InHand.end

    async def let_end(in_hand: InHand, seconds: float) -> None:
        receipts.gate.set()
        await end(in_hand, seconds)

    monkeypatch.setattr(InHand, "end", let_end)
    async with receipts.app:
        await receipts.place()
        await until(lambda: receipts.begun == ORDERS)
    assert receipts.sent == ORDERS
    async with receipts.app as app:
        await app.settled()
    assert receipts.begun == ORDERS


async def test_what_is_in_hand_of_a_lane_that_is_lost_is_stopped() -> None:
    """P5: it is another's to do now; who has the lane next, this one again perhaps, begins it anew."""
    receipts = Receipts("memory:", lease=60)
    async with receipts.app as app:
        await receipts.place()
        await until(lambda: receipts.begun == ORDERS)
        leases, me = app.events.inline.leases, receipts.keeper._worker
        (generation,) = await app.events.inline.generations.all("send_receipt")
        await leases.beat(Worker("another", "elsewhere 1", frozenset({generation.number})), 60, dead=[me])
        assert len(await leases.claim("another", "send_receipt", generation.number, range(LANES))) == LANES
        await leases.leave("another")
        await receipts.place()
        await until(lambda: receipts.cut == ORDERS)
        receipts.gate.set()
        await until(lambda: receipts.sent == 2 * ORDERS)


async def test_a_lane_that_was_claimed_without_knowing_is_let_go_of(url: str) -> None:
    """P6: a claim whose answer was lost took effect; the lane is another's to have."""
    receipts = Receipts(url, lease=0.4)
    async with receipts.app as app:
        await until(lambda: len(receipts.keeper.works) == LANES)
        await receipts.another_comes()
        board = await receipts.lanes_where(lambda row: row.owner == "", LANES // 2)
        free = [row for row in board.lanes if row.owner == ""]
        generation, me = free[0].generation, receipts.keeper._worker
        held = await app.events.inline.leases.claim(me, "send_receipt", generation, [row.lane for row in free])
        assert len(held) == LANES // 2
        await receipts.lanes_where(lambda row: row.owner == "", LANES // 2)
