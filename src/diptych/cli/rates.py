"""How far a rebuild is, with its speed and when it will be done: a bar on a terminal, a line every ten seconds else."""

import sys
import time
from math import inf
from typing import Any, Final

from diptych.cli.output import age, talk

_EVERY: Final = 10.0  # seconds between two lines where there is no terminal
_WINDOW: Final = 5.0  # seconds that the speed is measured over


class Rates:
    """Shows stages one after the other; only building and catching up take long enough for a speed."""

    def __init__(self, name: str) -> None:
        self._name, self._stage = name, ""
        self._samples: list[tuple[float, int]] = []
        self._said = 0.0
        self._bar: Any = None
        self._task: Any = None
        self._has_terminal = sys.stderr.isatty()

    def tell(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        if stage != self._stage:
            self._stage, self._samples, self._said = stage, [], time.monotonic()
            self.stop()
        now = time.monotonic()
        self._samples = [each for each in self._samples if each[0] > now - _WINDOW] + [(now, done)]
        if self._has_terminal:
            self._show_bar(total)
            self._bar.update(self._task, completed=done, total=total or 1, told=self._told(done, total))
        elif (done >= total and self._said < inf) or now - self._said >= _EVERY:
            self._said = inf if done >= total else now
            talk(f"{stage} {self._name}: {self._told(done, total)}")

    def stop(self) -> None:
        """Take the bar away; it is there again when something is told."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None

    def _show_bar(self, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}")]
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(f"{self._stage:9} {self._name}", total=total or 1, told="")

    def _told(self, done: int, total: int) -> str:
        if total <= 1:
            return "done" if done >= total else "..."
        first, rate = self._samples[0], 0.0
        if len(self._samples) > 1:
            rate = (done - first[1]) / max(self._samples[-1][0] - first[0], 1e-9)
        text = f"{done:,} / {total:,}  {100 * done // max(total, 1)} %"
        if rate > 0 and done < total:
            text += f"  {rate:,.0f} ev/s  ETA {age((total - done) / rate)}"
        return text
