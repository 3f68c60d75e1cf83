"""P7: an event whose handler ends the process, or hangs, is found, and treated like any other failing event."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from diptych.errors import StaleReadError
from diptych.projections.engine import ProjectionEngine
from diptych.projections.site import Rules
from tests.projections import shop
from tests.projections.harmful import Harmful, HarmfulSales, board_where, child, let_go, until
from tests.projections.running import FAST, Running, running
from tests.projections.shop import Basket, Fact
from tests.urls import url_for

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

HURRIED = Rules(FAST.pace._replace(handler_seconds=0.3))


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_for(request, tmp_path)


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """Let go of threads that hang."""
    let_go.clear()
    yield
    let_go.set()
    Harmful.is_mended = False


def with_harm(product: str, orders: int = 6) -> list[Fact]:
    """Some orders with two lines each, the third one's first line harmful."""
    facts: list[Fact] = [(shop.order(str(n)), shop.placed()) for n in range(orders)]
    for _ in range(2):
        facts += [(shop.order(str(n)), shop.added()) for n in range(orders)]
    return [*facts[:8], (shop.order("2"), shop.added(product)), *facts[8:]]


async def items(shop_: Running) -> dict[str, int]:
    rows = await shop_.rows(Basket)
    return {str(n): rows[shop.order(str(n)).id].items for n in range(6)}


async def kept_alive(url: str, name: str, rules: str, is_done: anyio.Event) -> list[int]:
    """Start the child again whenever it ends, as a supervisor would, until it is done; return how it ended."""
    codes: list[int] = []
    while not is_done.is_set():
        async with child("work", url, name, rules) as process:
            ending = asyncio.create_task(process.wait())
            done = asyncio.create_task(is_done.wait())
            await asyncio.wait((ending, done), return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                codes.append(ending.result())
            done.cancel()
            ending.cancel()
    return codes


async def test_an_event_that_ends_the_process_is_parked_and_the_others_are_applied(url: str) -> None:
    is_done, codes = anyio.Event(), []
    async with running(url, Harmful, rules=Rules(FAST.pace, is_worker=False)) as shop_:
        await shop_.append(with_harm("exit"))
        keeping = asyncio.create_task(kept_alive(url, "isolated", "", is_done))
        await shop_.engine.caught_up(30)
        parked = await shop_.views.parked("harmful")
        assert await items(shop_) == {"0": 2, "1": 2, "2": 0, "3": 2, "4": 2, "5": 2}
        is_done.set()
        codes = await keeping
    assert codes == [3, 3, 3]  # in a batch, and then twice alone
    assert [event.position for event in parked] == [9, 10, 16]
    assert "the process ended while it was applied" in parked[0].error


async def test_a_projection_that_is_not_isolated_stops_before_the_event_that_ends_the_process(url: str) -> None:
    is_done = anyio.Event()
    async with running(url, HarmfulSales, rules=Rules(FAST.pace, is_worker=False)) as shop_:
        await shop_.append(with_harm("exit"))
        keeping = asyncio.create_task(kept_alive(url, "whole", "", is_done))
        board = await board_where(shop_.views, lambda board: board.lanes[0].trouble != "", 30)
        is_done.set()
        assert await keeping == [3, 3, 3]
    assert board.lanes[0].checkpoint.position == 8
    assert "position 9 (Added): the process ended while it was applied" in board.lanes[0].trouble


async def test_a_handler_that_hangs_is_left_behind_and_its_key_is_parked(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(url, Harmful, rules=HURRIED) as shop_:
        last = await shop_.append(with_harm("hang"))
        assert await shop_.engine.progress["harmful"].wait_for(last.position, 10)
        assert await items(shop_) == {"0": 2, "1": 2, "2": 0, "3": 2, "4": 2, "5": 2}
        parked = await shop_.views.parked("harmful")
        assert [event.position for event in parked] == [9, 10, 16]
        assert "it ran for more than 0.3 s" in parked[0].error
    assert "diptych-harmful hangs and is left behind. Its stack:" in caplog.text
    assert "let_go.wait(20)" in caplog.text


async def test_a_projection_that_is_not_isolated_stops_before_the_event_that_hangs(url: str) -> None:
    async with running(url, HarmfulSales, rules=HURRIED) as shop_:
        await shop_.append(with_harm("hang"))
        with pytest.raises(StaleReadError, match="still stopped"):
            await shop_.engine.caught_up(10)
        progress = shop_.engine.progress["harmful_sales"]
        assert progress.saved == 8
        assert "position 9 (Added): it ran for more than 0.3 s" in str(progress.error)
        assert (await shop_.rows(shop.HandWritten))["pen"].lines == 2


async def test_a_worker_process_ends_once_it_knows_what_hangs(url: str) -> None:
    """Whoever watches over it starts a clean one, which goes on without that key."""
    async with running(url, Harmful, rules=Rules(FAST.pace, is_worker=False)) as shop_:
        await shop_.append(with_harm("hang"))
        async with child("work", url, "isolated", "exits") as process:
            with anyio.fail_after(20):
                assert await process.wait() == 70
        assert (await shop_.views.parked("harmful"))[0].position == 9
        assert (await shop_.views.leases.board()).workers == []
        async with child("work", url, "isolated", "exits"):
            await shop_.engine.caught_up(10)
            assert await items(shop_) == {"0": 2, "1": 2, "2": 0, "3": 2, "4": 2, "5": 2}


async def test_a_projection_that_is_not_isolated_does_not_end_its_worker_process_again_and_again(url: str) -> None:
    """Nothing can be parked: the third process finds beside the lane what two have tried, and stands without a try."""
    is_done = anyio.Event()
    async with running(url, HarmfulSales, rules=Rules(FAST.pace, is_worker=False)) as shop_:
        await shop_.append(with_harm("hang"))
        keeping = asyncio.create_task(kept_alive(url, "whole", "exits", is_done))
        board = await board_where(shop_.views, lambda board: "the process ended" in board.lanes[0].trouble, 30)
        assert board.workers
        is_done.set()
        assert await keeping == [70, 70]
    assert board.lanes[0].checkpoint.position == 8


async def test_a_handler_that_holds_the_interpreter_ends_its_worker_process_too(url: str) -> None:
    """No thread of Python could say so: the event is found as one that ends the process."""
    is_done = anyio.Event()
    async with running(url, Harmful, rules=Rules(FAST.pace, is_worker=False)) as shop_:
        await shop_.append(with_harm("grab"))
        keeping = asyncio.create_task(kept_alive(url, "isolated", "exits", is_done))
        await shop_.engine.caught_up(30)
        is_done.set()
        assert await keeping == [1, 1, 1]
        assert [event.position for event in await shop_.views.parked("harmful")] == [9, 10, 16]
        assert await items(shop_) == {"0": 2, "1": 2, "2": 0, "3": 2, "4": 2, "5": 2}


async def test_a_request_to_try_again_what_ends_the_process_is_answered_and_not_tried_for_ever(url: str) -> None:
    is_done = anyio.Event()
    async with running(url, Harmful, rules=Rules(FAST.pace, is_worker=False)) as shop_:
        await shop_.append(with_harm("exit"))
        keeping = asyncio.create_task(kept_alive(url, "isolated", "", is_done))
        await shop_.engine.caught_up(30)
        key = str(shop.order("2").id)
        (asked,) = await shop_.views.leases.ask("harmful", "retry", key=key, reason="to see")
        await board_where(shop_.views, lambda board: not board.requests, 30)
        is_done.set()
        assert await keeping == [3, 3, 3, 3]
        (answered,) = await shop_.views.leases.requests("harmful")
        assert answered.id == asked.id
        assert "stays parked: the process ended while it was applied" in answered.outcome
        assert len(await shop_.views.parked("harmful")) == 3


async def test_what_ended_a_process_is_applied_when_it_is_mended_and_somebody_asks() -> None:
    async with running("memory:", Harmful, rules=HURRIED) as shop_:
        await shop_.append(with_harm("hang"))
        await until(lambda: shop_.engine.progress["harmful"].parked == 1)
        Harmful.is_mended = True
        await shop_.views.leases.ask("harmful", "retry")
        await board_where(shop_.views, lambda board: not board.requests)
        assert await items(shop_) == {"0": 2, "1": 2, "2": 3, "3": 2, "4": 2, "5": 2}


async def test_an_inline_projection_that_hangs_stands_and_ends_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """P7: nothing can be noted on a lane that is everybody's, so that each next process would end on it, for ever."""
    ended: list[bool] = []

    async def ends(_: ProjectionEngine, is_put_aside: bool) -> None:
        ended.append(is_put_aside)

    monkeypatch.setattr(ProjectionEngine, "_end_process", ends)
    monkeypatch.setattr("faulthandler.dump_traceback_later", lambda seconds, exit: None)
    rules = HURRIED._replace(exits_when_hung=True)
    async with running("memory:", (HarmfulSales, "inline"), rules=rules, is_started=False) as shop_:
        await shop.append(shop_.events, with_harm("hang"))
        await shop_.engine.start()
        progress = shop_.engine.progress["harmful_sales"]
        assert (progress.state, progress.saved) == ("stopped", 8)
        assert "ran for more than" in (progress.error or "")
    assert ended == []
