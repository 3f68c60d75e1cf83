"""Places of a pool: in turn, never more than there are, and none is lost by who gives up."""

import asyncio
import random
from collections.abc import Callable

import pytest

from diptych.store.postgres.places import Places

pytestmark = pytest.mark.anyio


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - a turn of the loop, not a time
            await asyncio.sleep(0)


async def test_places_are_given_in_the_order_they_were_asked_for() -> None:
    places, served = Places(1, 10), list[int]()
    await places.take()

    async def ask(number: int) -> None:
        await places.take()
        served.append(number)
        places.give_back()

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(ask(number))
            await asyncio.sleep(0)
        places.give_back()
    assert served == [0, 1, 2, 3, 4]


async def test_each_one_who_waits_too_long_is_told_and_no_place_is_lost() -> None:
    places = Places(1, 0.02)
    await places.take()
    for _ in range(2):  # the timer is set again
        told = await asyncio.gather(*[places.take() for _ in range(3)], return_exceptions=True)
        assert [type(each) for each in told] == [TimeoutError] * 3
    places.give_back()
    await places.take()


async def test_who_comes_later_is_told_too() -> None:
    """One timer watches both: it is set for the first, and then for the second."""
    places = Places(1, 0.02)
    await places.take()
    first = asyncio.create_task(places.take())
    await until(lambda: len(places._waiting) == 1)
    second = asyncio.create_task(places.take())
    for each in (first, second):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(each), 10)
    assert (first.done(), second.done()) == (True, True)


async def test_a_place_given_to_who_was_just_cancelled_goes_to_the_next() -> None:
    places = Places(1, 10)
    await places.take()
    cancelled, next_one = asyncio.create_task(places.take()), asyncio.create_task(places.take())
    await until(lambda: len(places._waiting) == 2)
    places.give_back()
    cancelled.cancel()
    await asyncio.wait([cancelled])
    await asyncio.wait_for(next_one, 10)
    assert cancelled.cancelled()


@pytest.mark.parametrize("seed", range(5))
async def test_never_more_than_there_are_and_all_come_back(seed: int) -> None:
    source, places = random.Random(seed), Places(3, 10)
    taken = most = 0

    async def use() -> None:
        nonlocal taken, most
        await places.take()
        try:
            taken, most = taken + 1, max(most, taken + 1)
            for _ in range(source.randrange(4)):
                await asyncio.sleep(0)
        finally:
            taken -= 1
            places.give_back()

    tasks = [asyncio.create_task(use()) for _ in range(200)]
    while not all(task.done() for task in tasks):
        source.choice(tasks).cancel()
        await asyncio.sleep(0)
    assert (taken, most) == (0, 3)
    async with asyncio.timeout(10):
        for _ in range(3):
            await places.take()
    late = asyncio.create_task(places.take())
    await until(lambda: len(places._waiting) == 1)
    assert not late.done()
    late.cancel()
