"""`diptych run --only workers`: projections are worked on, and nothing is served.

Rule: whoever is told to end lets go of its lanes first; whoever ends otherwise is started again, if somebody is there.
"""

import asyncio
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from diptych.app.application import App
from diptych.app.module import Module
from diptych.cli.discovery import Found
from diptych.cli.output import talk
from diptych.errors import ConfigurationError
from diptych.store.opening import shown
from diptych.subscriptions.failures import Backoff

_LONG: Final = 10.0  # seconds; who ends sooner than that waits longer and longer before it is started again
_REFUSED: Final = 2  # how one ends whose very first start fails: a mistake, for a person to mend


def check_shared(app: App, option: str) -> None:
    """:raises ConfigurationError: several processes, which an option asks for, would each have a store of its own."""
    if app.url.startswith("memory:"):
        raise ConfigurationError(
            f"memory: is of one process, and {option} is for several. Name a store that they share: sqlite:///shop.db"
        )


def divide(app: App, *, works: bool) -> None:
    """Have an app work on projections, or leave that to others. Whoever only works ends when a handler hangs.

    :raises ConfigurationError: there is nothing to divide.
    """
    check_shared(app, "--only")
    if works and not any(map(_has_work, app.everything())):
        raise ConfigurationError(
            "The app has no asynchronous projection, no saga and no reaction, so there is nothing to work on. "
            "Leave --only workers out."
        )
    app.tuning = app.tuning._replace(runs_projections=works, exits_when_hung=works or app.tuning.exits_when_hung)


def _has_work(module: Module) -> bool:
    follows = (module.sagas, module.reactions, module.published, module.inboxes)
    return "async" in module.projected.values() or any(follows)


def work(found: Found, workers: int) -> int:
    """Work until told to end; returns the exit code.

    :raises ConfigurationError: there is nothing to work on.
    """
    divide(found.app, works=True)
    if workers > 1:
        return asyncio.run(_Crew(found, workers).run())
    asyncio.run(_work(found))
    return 0


async def _work(found: Found) -> None:
    _end_by(_task().cancel)
    with suppress(asyncio.CancelledError):
        async with found.app:
            talk(f"{found.target.module} works on the projections of {shown(found.app.url)}")
            await asyncio.Event().wait()


class _Crew:
    """Several processes of which each is started again when it ends without having been told to."""

    def __init__(self, found: Found, workers: int) -> None:
        self._command = (sys.executable, "-m", "diptych.cli", "run", found.target.spelt, "--only", "workers")
        self._workers, self._running = workers, set[Process]()
        self._code = 0

    async def run(self) -> int:
        """Keep them running until told to end, or until one cannot even be started; returns the exit code."""
        _end_by(_task().cancel)
        keeping = [asyncio.create_task(self._keep_one()) for _ in range(self._workers)]
        with suppress(asyncio.CancelledError):
            await asyncio.wait(keeping, return_when=asyncio.FIRST_COMPLETED)
        for each in keeping:
            each.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)
        for process in self._running:
            with suppress(ProcessLookupError):
                process.terminate()
        await asyncio.gather(*(process.wait() for process in self._running))
        return self._code

    async def _keep_one(self) -> None:
        backoff, is_first = Backoff(0.5, 30.0), True
        while True:
            began = time.monotonic()
            process = await asyncio.create_subprocess_exec(*self._command, "--workers", "1", start_new_session=True)
            self._running.add(process)
            code = await process.wait()
            self._running.discard(process)
            if is_first and code == _REFUSED:
                self._code = code
                return
            talk(f"diptych: a worker ended with code {code}, and another is started")
            is_first = False
            if time.monotonic() - began > _LONG:
                backoff.reset()
            await asyncio.sleep(backoff.next())


def _task() -> "asyncio.Task[object]":
    current = asyncio.current_task()
    assert current is not None
    return current


def _end_by(act: Callable[[], object]) -> None:
    """Do this when told to end; told again, the process ends at once."""
    loop, signals = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)

    def end() -> None:
        for each in signals:
            loop.remove_signal_handler(each)
        act()

    for each in signals:
        loop.add_signal_handler(each, end)
