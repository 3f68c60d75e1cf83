"""Many clients at once, each with its own share of the work, one step after the other."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def together(shares: Sequence[Sequence[T]], step: Callable[[T], Awaitable[object]]) -> float:
    """Let one client per share take its steps, all clients at once; return the seconds it took."""

    async def client(share: Sequence[T]) -> None:
        for each in share:
            await step(each)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for share in shares:
            group.create_task(client(share))
    return time.perf_counter() - begun


def dealt(items: Sequence[T], clients: int) -> list[Sequence[T]]:
    """Deal items to clients in turn."""
    return [items[number::clients] for number in range(clients)]
