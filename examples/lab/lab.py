"""Runs a lab: the order service with customers in it, something that breaks, and somebody who mends it.

Rule: what is wrong is never asked of this process's memory alone, but of the stores, as an operator would.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from rich.console import Console
from rich.live import Live

from diptych import App
from diptych.app.status import ProjectionStatus
from examples.demo.players import Customer, Shop, Storekeeper
from examples.demo.server import HOST, serving
from examples.demo.tally import Tally
from examples.lab.place import Place
from examples.lab.screen import Screen, parcels
from examples.lab.service import make_app
from examples.orders.main import make_api

_PICTURE_EVERY: Final = 0.25
_LINE_EVERY: Final = 5.0
_PATIENCE: Final = 60.0  # seconds for what happens by itself

Is = Callable[[ProjectionStatus], bool]


class EndedError(Exception):
    """Somebody pressed Ctrl-C."""


class NotSoError(Exception):
    """Something did not become as it should; the text says what."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How a lab is played: `auto` runs what it prints by itself."""

    auto: bool
    port: int | None
    players: int
    seed: int
    pause: float


def is_well(one: ProjectionStatus) -> bool:
    """Whether nothing is wrong with the parcels."""
    return one.state == "running" and one.lag_seconds < 1


class Lab:
    """One lab. What happens in it is `breaking.py`."""

    def __init__(self, place: Place, choices: Choices, console: Console, stop: asyncio.Event) -> None:
        self.place, self.tally = place, Tally()
        self._choices, self._console, self._stop = choices, console, stop
        self._running: tuple[App, Shop, Screen] | None = None

    @property
    def app(self) -> App:
        """The service."""
        return self._service[0]

    @property
    def shop(self) -> Shop:
        """Where the service is, for one more customer."""
        return self._service[1]

    @property
    def _service(self) -> tuple[App, Shop, Screen]:
        assert self._running is not None, "only while `serving` lasts"
        return self._running

    # --- the service -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Run the service as its folder says, with customers, until the block ends; then it stops in good order."""
        ended: Exception | None = None
        async with AsyncExitStack() as stack:
            app = await stack.enter_async_context(
                make_app(self.place.url, self.place.folder.resolve(), self.place.limit)
            )
            port = await stack.enter_async_context(serving(make_api(app), self._choices.port))
            shop = Shop(HOST, port, self.tally, self._choices.pause)
            self._running = app, shop, Screen(f"http://{HOST}:{port}", self.place.events, self.tally)
            await stack.enter_async_context(self._customers(shop))
            try:
                yield
            except (EndedError, NotSoError) as error:
                ended = error
            finally:
                self._running = None
        if ended is not None:
            raise ended

    @asynccontextmanager
    async def _customers(self, shop: Shop) -> AsyncIterator[None]:
        seed = self._choices.seed
        keeper = Storekeeper(shop, seed)
        await keeper.open_shop()
        async with asyncio.TaskGroup() as group:
            playing = [group.create_task(keeper.play())]
            playing += [group.create_task(Customer(shop, seed, at).play()) for at in range(self._choices.players)]
            try:
                yield
            finally:
                for task in playing:
                    task.cancel()

    # --- what is said and shown --------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Print a paragraph, in rich's markup."""
        self._console.print(f"\n{text}", highlight=False)

    def lines(self, lines: Sequence[str]) -> None:
        """Print lines below a paragraph, as they are."""
        for line in lines:
            self._console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)

    async def until(self, what: str, is_so: Is, seconds: float | None = _PATIENCE) -> None:
        """Show how everything is until it is so. :raises NotSoError: not within so many seconds."""
        app, _, screen = self._service
        until, shown = monotonic() + (seconds or 1e9), 0.0
        picture: AbstractContextManager[Live | None] = nullcontext()
        if self._console.is_terminal:
            picture = Live(console=self._console, auto_refresh=False)
        with picture as live:
            while not is_so(parcels(status := await app.status())):
                if live is not None:
                    live.update(screen.picture(status), refresh=True)
                elif monotonic() - shown >= _LINE_EVERY:
                    shown = monotonic()
                    self._print(screen.line(status))
                if self._stop.is_set():
                    raise EndedError
                if monotonic() > until:
                    raise NotSoError(f"{what}: not so within {seconds:g} s. {screen.line(status)}")
                await self.rest(_PICTURE_EVERY)
            if live is not None:
                live.update(screen.picture(status), refresh=True)
            else:
                self._print(screen.line(status))

    async def rest(self, seconds: float) -> None:
        """Let some time go by, unless somebody ends it."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    async def show_alerts(self) -> None:
        """Say which alerts of the parcels last, once there is one."""
        deadline = monotonic() + _PATIENCE
        while not (alerts := await self.app.views.alerts.recent("parcels", is_open=True)):
            if monotonic() > deadline:
                raise NotSoError("No alert was raised.")
            await self.rest(_PICTURE_EVERY)
            if self._stop.is_set():
                raise EndedError
        self.say("[bold red]alert[/]")
        self.lines([one.message for one in alerts])

    # --- what is done ------------------------------------------------------------------------------------------------

    async def do(self, command: str) -> None:
        """Run a command as it would be typed, and show it. :raises NotSoError: it fails."""
        if await self._run(command) != 0:
            raise NotSoError(f"That failed: {command}")

    async def mend(self, look: Sequence[str], mend: Sequence[str], what: str, is_so: Is) -> None:
        """Print what to look at and what mends it; wait until it is so, or with `--auto` do it."""
        self.say("[bold]look[/]")
        self.lines([f"$ {command}" for command in look])
        self.say("[bold]mend[/]")
        self.lines([f"$ {command}" for command in mend])
        if self._choices.auto:
            for command in look:
                await self._run(command)
            for command in mend:
                await self.do(command)
        else:
            self.say("Type these in another terminal, in this folder. Here is shown what comes of it.")
        sys.stdout.flush()
        await self.until(what, is_so, _PATIENCE if self._choices.auto else None)
        self.say(f"[bold green]done[/]: {what}.")

    async def _run(self, command: str) -> int:
        self._console.print()
        self.lines([f"$ {command}"])
        sys.stdout.flush()
        running = await asyncio.create_subprocess_shell(command, stdin=asyncio.subprocess.DEVNULL)
        return await running.wait()

    def _print(self, line: str) -> None:
        print(line)
        sys.stdout.flush()


Scenario = Callable[[Lab], Coroutine[Any, Any, None]]
