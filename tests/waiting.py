"""Waiting in a test for what happens elsewhere: for a condition, with a deadline, and never for a time."""

from collections.abc import Callable

import anyio


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Return when the condition holds. :raises TimeoutError: it does not in time."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - it is looked at, not told
            await anyio.sleep(0.002)
