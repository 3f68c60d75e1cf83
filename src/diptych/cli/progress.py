"""How far a long piece of work is, told on stderr."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from diptych.cli.output import talk

_EVERY = 10.0  # seconds between two lines where there is no terminal


class Bars:
    """A bar for each stage on a terminal; else a line every ten seconds and at the end of each stage."""

    def __init__(self) -> None:
        self._bars: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._progress: Progress | None = None
        if sys.stderr.isatty():
            columns: list[Any] = [TextColumn("{task.description:16}"), BarColumn()]
            columns += [TextColumn("{task.completed:,.0f} / {task.total:,.0f}"), TimeRemainingColumn()]
            self._progress = Progress(*columns, console=Console(stderr=True))
            self._progress.start()

    def tell(self, what: str, done: int, total: int) -> None:
        """Show how far this stage is."""
        if self._progress is not None:
            bar = self._bars.get(what)
            if bar is None:
                bar = self._bars[what] = self._progress.add_task(what, total=total)
            self._progress.update(bar, completed=done, total=total)
            return
        now = time.monotonic()
        if done >= total or now - self._said.setdefault(what, now) >= _EVERY:
            self._said[what] = now
            talk(f"{what}: {done:,} of {total:,}")

    def stop(self) -> None:
        """Take the bars away."""
        if self._progress is not None:
            self._progress.stop()
