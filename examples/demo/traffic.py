"""Runs the players against the API and shows what happens, until time is up or somebody ends it."""

import asyncio
import sys
from collections.abc import Callable
from time import monotonic

from rich.console import Console
from rich.live import Live

from diptych import App
from examples.demo.counting import CountRows
from examples.demo.players import Customer, Shop, Storekeeper
from examples.demo.screen import Moment, Screen

_PICTURE_EVERY = 0.5
_LINE_EVERY = 5.0


class Traffic:
    """Some customers and a storekeeper, and the screen that shows what they do."""

    def __init__(self, app: App, shop: Shop, screen: Screen, console: Console) -> None:
        self._app, self._shop, self._screen, self._console = app, shop, screen, console

    async def run(self, players: int, seed: int, seconds: float, stop: asyncio.Event) -> None:
        """Play for so many seconds, or until `stop` is set."""
        until = monotonic() + seconds
        keeper = Storekeeper(self._shop, seed)
        await keeper.open_shop()
        async with asyncio.TaskGroup() as group:
            playing = [group.create_task(keeper.play())]
            playing += [group.create_task(Customer(self._shop, seed, number).play()) for number in range(players)]
            try:
                await self._show(until, stop)
            finally:
                for task in playing:
                    task.cancel()

    async def _show(self, until: float, stop: asyncio.Event) -> None:
        if self._console.is_terminal:
            with Live(console=self._console, auto_refresh=False) as live:
                await self._loop(
                    until, stop, _PICTURE_EVERY, lambda moment: live.update(self._screen.picture(moment), refresh=True)
                )
        else:
            await self._loop(until, stop, _LINE_EVERY, self._print_line)

    async def _loop(self, until: float, stop: asyncio.Event, every: float, show: Callable[[Moment], None]) -> None:
        """Look every half second; show as often as it is asked for."""
        shown = monotonic() - every + _PICTURE_EVERY
        while not stop.is_set() and monotonic() < until:
            moment = await self._moment(until)
            self._screen.note(moment)
            if monotonic() - shown >= every:
                shown = monotonic()
                show(moment)
            try:
                await asyncio.wait_for(stop.wait(), max(0.01, min(_PICTURE_EVERY, until - monotonic())))
            except TimeoutError:
                continue

    async def _moment(self, until: float) -> Moment:
        rows = await self._app.queries.dispatch(CountRows())
        return Moment(await self._app.status(), rows, self._shop.tally, max(0.0, until - monotonic()))

    def _print_line(self, moment: Moment) -> None:
        print(self._screen.line(moment))
        sys.stdout.flush()
