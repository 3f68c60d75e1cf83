"""P7: of what is tried alone there is one in a process, so that no other event is blamed; nobody waits for ever."""

import asyncio

import pytest

from diptych.projections.alone import Alone

pytestmark = pytest.mark.anyio


async def test_events_are_tried_one_after_another() -> None:
    alone, inside, most = Alone(60.0), 0, 0

    async def attempt() -> None:
        nonlocal inside, most
        async with alone.turn():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(attempt() for _ in range(10)))
    assert most == 1


async def test_one_that_hangs_keeps_nobody_from_his_turn_for_ever() -> None:
    alone = Alone(0.01)
    async with alone.turn(), alone.turn():
        pass
    async with asyncio.timeout(5), alone.turn():
        pass


async def test_who_fails_or_is_cancelled_gives_his_turn_back() -> None:
    alone = Alone(60.0)
    with pytest.raises(RuntimeError):
        async with alone.turn():
            raise RuntimeError

    async def hang() -> None:
        async with alone.turn():
            await asyncio.Event().wait()

    hanging = asyncio.create_task(hang())
    await asyncio.sleep(0)
    hanging.cancel()
    await asyncio.wait([hanging])
    async with asyncio.timeout(5), alone.turn():
        pass
