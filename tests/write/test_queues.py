"""Commands wait for each other at an aggregate: in order, and a cancelled one leaves without a trace."""

import asyncio

import pytest

from diptych.write.queues import Queues

pytestmark = pytest.mark.anyio


async def worker(queues: Queues, name: str, seen: list[str], turns: int = 1) -> None:
    await queues.enter("basket")
    try:
        seen.append(f"{name} in")
        for _ in range(turns):
            await asyncio.sleep(0)
        seen.append(f"{name} out")
    finally:
        queues.leave("basket")


async def test_one_at_a_time_and_first_come_first_served() -> None:
    queues, seen = Queues(), list[str]()
    await asyncio.gather(*(worker(queues, name, seen, turns=3) for name in "abc"))
    assert seen == ["a in", "a out", "b in", "b out", "c in", "c out"]
    assert not queues._waiting


async def test_another_key_does_not_wait() -> None:
    queues = Queues()
    await queues.enter("one")
    await asyncio.wait_for(queues.enter("two"), 1)


@pytest.mark.parametrize("ticks", range(6))
async def test_a_cancelled_waiter_lets_the_next_one_in(ticks: int) -> None:
    queues, seen = Queues(), list[str]()
    first = asyncio.create_task(worker(queues, "a", seen, turns=2))
    second = asyncio.create_task(worker(queues, "b", seen, turns=2))
    third = asyncio.create_task(worker(queues, "c", seen, turns=2))
    for _ in range(ticks):
        await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert seen[-2:] == ["c in", "c out"]
    assert not queues._waiting


async def test_a_waiter_cancelled_in_the_moment_the_turn_is_passed_on_is_simply_cancelled() -> None:
    queues = Queues()
    await queues.enter("basket")
    waiter = asyncio.create_task(queues.enter("basket"))
    await asyncio.sleep(0)
    waiter.cancel()
    queues.leave("basket")
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert not queues._waiting
