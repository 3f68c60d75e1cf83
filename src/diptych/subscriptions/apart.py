"""Awaiting what is not ours: a driver may swallow a cancellation, and then whoever was to end goes on for ever.

`asyncio.wait_for` did so until Python 3.12, and drivers are made of it.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

T = TypeVar("T")

LEFT: Final = 1.0
"""Seconds that it gets to end, once nobody waits for it."""


async def apart(call: Awaitable[T], within: float | None = None) -> T:
    """Return what a call returns. Cancelled, or after so many seconds, this ends, whatever the call makes of it.

    :raises TimeoutError: it was stopped, for it took too long.
    """
    running = asyncio.create_task(kept(call))
    try:
        done, _ = await asyncio.wait((running,), timeout=within)
    except asyncio.CancelledError:
        await _stop(running)
        raise
    if not done:
        await _stop(running)
        raise TimeoutError(f"it ran for more than {within:g} s, and was stopped")
    return running.result()


async def kept(call: Awaitable[T]) -> T:
    """Return what a call returns. One that exits has failed; it ends nobody else's work with it.

    :raises RuntimeError: it exited, or raised what is no Exception.
    """
    try:
        return await call
    except SystemExit as ended:
        raise RuntimeError(
            f"it exited with {ended.code!r}, and nothing that is called here may end the process"
        ) from ended
    except (Exception, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as odd:  # a group with an exit in it, say: nobody would take it for an outcome
        raise RuntimeError(f"it raised {type(odd).__name__}, which is no Exception: {odd!r:.200}") from odd


async def _stop(running: "asyncio.Task[Any]") -> None:
    running.add_done_callback(heard)
    running.cancel()
    await asyncio.wait((running,), timeout=LEFT)


def heard(done: "asyncio.Future[Any]") -> None:
    """Take note of how it ended, so that nobody is told of an error that no one awaited."""
    if not done.cancelled():
        done.exception()
